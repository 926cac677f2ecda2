package e2e_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// versionNote is what has to come of the data of a version; it lies beside them.
type versionNote struct {
	Made   time.Time
	Lacks  []string             // keys of the configuration that the version refused
	Remote []string             // subjects that are on their way to others, one for each recipient
	Local  []string             // ... to bob
	Boxes  map[string][]string  // ... to other mailboxes and folders
	UIDLs  []string             // of what bob had seen
	Said   map[string]string    // by subject, a pattern of what the next host is told in MAIL and RCPT
	Later  map[string]time.Time // subjects that are not sent before
	Known  string               // a sender that the filter greylist knows
	Seen   map[string][]string  // UIDLs that others had seen
	State  bool                 // what writeState makes is there
}

// Users, each with a scheme of the users file.
var versionSchemes = map[string]string{"alice": "", "bob": "argon2id", "carol": "bcrypt", "dave": "sha512-crypt"}

// gateway speaks for a client of another network, which the filter greylist looks at.
const gateway = "127.255.1.1"

// nowhere is an address at which nobody listens.
const nowhere = "127.0.0.1:1"

// versionOptions are the configuration of the data: others get their mail at to.
func versionOptions(to string) options {
	return options{
		users:  []string{},
		inside: "aliases = \"@DIR@/aliases\"\ndelimiter = \"+\"\n",
		more: `[queue]
delay_notice = "0"
lifetime = "60d"
bounce_lifetime = "60d"
[mailboxes]
quota = "50MB"
[pop3d]
uidl = "dovecot"
[smtpd]
xclient_from = ["` + gateway + `"]
future_release_max = "30d"
[smtpd.rate]
messages_per_client = "1000/h"
messages_per_login = "1000/h"
recipients_per_login = "1000/h"
[filters]
directory = "@DIR@/programs/filters"
settings = "@DIR@/filters.d"
quarantine = "junk"
enabled = ["greylist", "policy"]
[[route]]
domain = "gone.test"
to = "error:5.1.2 gone for good"
[[route]]
domain = "*"
to = "smtp:` + to + `"
tls = "none"
`,
	}
}

// The settings of the filters.
var versionFilters = map[string]string{
	"greylist": "[settings]\ndelay = \"1s\"\nwindow = \"30d\"\nkeep = \"400d\"\n",
	"policy":   "[[settings.rule]]\nname = \"odd\"\nheader = { Subject = [\"^odd\"] }\naction = \"quarantine\"\n",
}

const versionAliases = "away: forwarded@away.test\nlist: bob, dave, l@away.test\nowner-list: alice\nlost: nobody-here\n"

// versionInstance is an instance for the data, with the programs in a folder.
func versionInstance(t *testing.T, programs, to string) *instance {
	t.Helper()
	o := versionOptions(to)
	o.bin = programs
	i := newInstance(t, o)
	i.text = strings.ReplaceAll(i.text, "@DIR@", i.dir)
	mtatest.Write(t, i.conf, i.text)
	mtatest.Write(t, filepath.Join(i.dir, "aliases"), versionAliases)
	for name, text := range versionFilters {
		mtatest.Write(t, filepath.Join(i.dir, "filters.d", name+".toml"), text)
	}
	i.linkFilters()
	return i
}

// linkFilters puts the filters where the configuration has them.
func (i *instance) linkFilters() {
	i.t.Helper()
	dir := filepath.Join(i.dir, "programs/filters")
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700))
	for name := range versionFilters {
		err = errors.Join(err, os.Symlink(filepath.Join(i.bin, "filter"), filepath.Join(dir, name)))
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// filling is an instance that gets its data.
type filling struct {
	*instance
	t *testing.T
	n versionNote
}

func (f *filling) lacks(key string) bool { return slices.Contains(f.n.Lacks, key) }

// local is a content for bob.
func (f *filling) local(subject string) string {
	f.n.Local = append(f.n.Local, subject)
	return "Subject: " + subject + "\r\n\r\nx\r\n"
}

// remote is a content for one recipient elsewhere.
func (f *filling) remote(subject string) string {
	f.n.Remote = append(f.n.Remote, subject)
	return "Subject: " + subject + "\r\n\r\nx\r\n"
}

func (f *filling) box(name, subject string) string {
	f.n.Boxes[name] = append(f.n.Boxes[name], subject)
	return "Subject: " + subject + "\r\n\r\nx\r\n"
}

// bigLetter has its content in a file of its own.
func bigLetter(subject string) string {
	return "Subject: " + subject + "\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 60000)
}

// leaveMail makes a system with mail in each state, by the programs themselves, and ends queue-runner as a power cut would.
func (i *instance) leaveMail(t *testing.T, lacks []string) versionNote {
	t.Helper()
	f := &filling{i, t, versionNote{Made: time.Now(), Lacks: lacks, Boxes: map[string][]string{}, Said: map[string]string{}, Later: map[string]time.Time{}}}
	f.users()
	if !f.lacks("pop3d.uidl") {
		f.formerServers()
	}
	i.tryPosthouse("srs", "rotate", "-c", i.conf)
	i.startAll()
	f.read()
	f.deferred()
	f.parameters()
	f.aliases()
	f.greylisted()
	i.queue.Kill()
	f.incoming()
	i.smtpd.Terminate(t) // it keeps the rates then
	i.pop3d.Kill()
	return f.n
}

// tryPosthouse is for a command that an earlier version may lack.
func (i *instance) tryPosthouse(args ...string) bool {
	i.t.Helper()
	status, out := i.posthouse("", args...)
	if status != 0 {
		i.t.Logf("posthouse %v: status %d, %s", args, status, out)
	}
	return status == 0
}

func (f *filling) users() {
	f.t.Helper()
	for local, scheme := range versionSchemes {
		args := []string{"user", "add", "--config", f.conf, f.address(local)}
		if scheme != "" {
			args = append(args, "--scheme", scheme)
		}
		if status, out := f.posthouse(password+"\n", args...); status != 0 {
			f.t.Fatalf("%v: status %d, %s", args, status, out)
		}
	}
}

// read is mail that has been read: a later version must not show it as new.
func (f *filling) read() {
	f.t.Helper()
	for _, s := range []string{"in the mailbox", "in the mailbox, read", "in the mailbox too"} {
		f.delivered(f.deposit(f.t, f.local(s), "bob"), "bob")
	}
	c := f.login(f.t, "bob")
	var err error
	if f.n.UIDLs, err = c.list("UIDL"); err == nil {
		_, err = c.fetch(2)
	}
	if err == nil {
		_, err = c.cmd("QUIT")
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// deferred is mail that waits for another attempt, or for the operator.
func (f *filling) deferred() {
	f.t.Helper()
	f.wait(f.remote("deferred"), "u@away.test")
	held := f.wait(f.remote("held"), "u@held.test")
	if status, out := f.posthouse("", "queue", "hold", "--config", f.conf, "--reason", "kept for the test", held); status != 0 {
		f.t.Fatalf("hold: %d %s", status, out)
	}
	f.n.Local = append(f.n.Local, "one delivered, one deferred")
	s := f.submit(f.t, "alice")
	id, _, err := s.send([]byte(f.remote("one delivered, one deferred")), f.address("alice"), f.address("bob"), "u@away.test")
	if err != nil {
		f.t.Fatal(err)
	}
	f.delivered(id, "bob")
	f.queue.Await(f.t, "event=deferred id="+id)
	f.n.Remote = append(f.n.Remote, "large, deferred")
	f.wait(bigLetter("large, deferred"), "u@away.test")
}

// parameters is mail with all that MAIL and RCPT can say.
func (f *filling) parameters() {
	f.t.Helper()
	for _, p := range []struct{ subject, mail, to, rcpt, said string }{
		{"reports asked for", "RET=HDRS ENVID=QQ314159", "u@away.test", "NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;orig@away.test", `RET=HDRS.*ENVID=QQ314159.*NOTIFY=SUCCESS,FAILURE,DELAY.*ORCPT=rfc822;orig@away\.test`},
		{"no reports", "BODY=8BITMIME", "u@away.test", "NOTIFY=NEVER", "NOTIFY=NEVER"},
		{"beyond ASCII", "SMTPUTF8 BODY=8BITMIME", "j\u00fcrgen@away.test", "", "SMTPUTF8.*j\u00fcrgen@away"},
		{"urgent", "MT-PRIORITY=4", "u@away.test", "", "MT-PRIORITY=4"},
		{"in time", "BY=900000000;N", "u@away.test", "", ""},
		{"later", "HOLDFOR=86400", "u@away.test", "", ""},
		{"only with TLS", "REQUIRETLS", "u@away.test", "", ""},
	} {
		c := f.submit(f.t, "alice")
		_, err := c.cmd("250", "%s", strings.TrimSpace("MAIL FROM:<"+f.address("alice")+"> "+p.mail))
		if err == nil {
			_, err = c.cmd("250", "%s", strings.TrimSpace("RCPT TO:<"+p.to+"> "+p.rcpt))
		}
		var no *replyError
		if errors.As(err, &no) {
			f.t.Logf("%s: %v: this version has it not", p.subject, err)
			continue
		}
		if err == nil {
			_, err = c.cmd("354", "DATA")
		}
		if err == nil {
			_, err = c.cmd("250", "Subject: %s\r\n\r\nx\r\n.", p.subject)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		c.close()
		switch {
		case p.mail == "REQUIRETLS":
			f.n.Boxes["alice"] = append(f.n.Boxes["alice"], "Not delivered: "+p.subject) // the next host has no TLS
			continue
		case strings.HasPrefix(p.mail, "HOLDFOR"):
			f.n.Later[p.subject] = f.n.Made.Add(24 * time.Hour)
		case p.said != "":
			f.n.Said[p.subject] = p.said
		}
		f.n.Remote = append(f.n.Remote, p.subject)
	}
}

// aliases is mail that became other mail, or a report that waits.
func (f *filling) aliases() {
	f.t.Helper()
	from := f.queue.Mark()
	f.deposit(f.t, f.remote("forwarded"), "away")
	f.queue.AwaitFrom(f.t, from, `event=deferred .*to=<forwarded@away\.test>`)
	from = f.queue.Mark()
	f.n.Remote, f.n.Local = append(f.n.Remote, "to a list"), append(f.n.Local, "to a list")
	f.deposit(f.t, f.box("dave", "to a list"), "list")
	f.queue.AwaitFrom(f.t, from, `event=deferred .*to=<l@away\.test>`)
	from = f.queue.Mark()
	f.deposit(f.t, "Subject: to nobody\r\n\r\nx\r\n", "lost")
	f.queue.AwaitFrom(f.t, from, `event=deferred .*to=<sender@away\.test>`) // the report
	f.n.Remote = append(f.n.Remote, "Not delivered: to nobody")
}

// greyed sends from a client that the filter greylist looks at; it is refused where the sender is not known there.
func (i *instance) greyed(t *testing.T, sender, content string) error {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(gateway)}}
	nc, err := d.Dial("tcp", i.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(talkTime))
	c := &smtpConn{nc, bufio.NewReader(nc)}
	if _, err = c.expect("220"); err == nil {
		_, err = c.cmd("220", "XCLIENT ADDR=192.0.2.7")
	}
	if err == nil {
		_, err = c.cmd("250", "EHLO client.test")
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.send([]byte(content), sender, i.address("bob"))
	return err
}

// greylisted makes a sender known.
func (f *filling) greylisted() {
	f.t.Helper()
	if f.lacks("filters.enabled") || f.lacks("smtpd.xclient_from") {
		return
	}
	const sender = "grey@away.test"
	content := f.local("after a while")
	var no *replyError
	if err := f.greyed(f.t, sender, content); !errors.As(err, &no) || !strings.HasPrefix(no.got, "451") {
		f.t.Fatalf("who is not known: got %v, want 451", err)
	}
	mtatest.Eventually(f.t, func() error { return f.greyed(f.t, sender, content) })
	f.n.Known = sender
}

// incoming is mail that queue-runner has not seen.
func (f *filling) incoming() {
	f.t.Helper()
	for _, m := range []struct{ content, to string }{
		{f.local("incoming"), f.address("bob")}, {f.remote("incoming for others"), "u@away.test"}, {bigLetter("large, incoming"), f.address("bob")},
		{f.remote("incoming to be forwarded"), f.address("away")},
	} {
		c := f.submit(f.t, "alice")
		if _, _, err := c.send([]byte(m.content), f.address("alice"), m.to); err != nil {
			f.t.Fatal(err)
		}
		c.close()
	}
	f.n.Local = append(f.n.Local, "large, incoming")
	if !f.lacks("filters.enabled") {
		f.deposit(f.t, f.box("bob/.Junk", "odd, incoming"), "bob")
	}
}

// versionSink takes all that is for others.
func versionSink(t *testing.T) *mtatest.Sink {
	t.Helper()
	return (&mtatest.Sink{Extensions: []string{"8BITMIME", "SMTPUTF8", "DSN", "MT-PRIORITY MIXER", "DELIVERBY"}}).Start(t, "")
}
