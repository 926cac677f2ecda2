package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// Here the servers of others take what queue-runner sends: for far.test, where bob is and nobody else.

// certsAt makes a certificate for a server of others, in a folder that its user can read.
func certsAt(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	c := mtatest.NewCerts(t, names...)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for to, from := range map[string]string{cert: c.CertFile, key: c.KeyFile} {
		mtatest.Write(t, to, readFile(t, from))
		if err := os.Chmod(to, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// overTLS is what the log has of a delivery over TLS.
const overTLS = "tls=.*TLSv1"

// sendFar sends one message for bob and for nobody through an instance whose route leads to the server, and holds that bob
// has it octet by octet, over the TLS that is wanted, and that alice is told of the other. files lists what bob has.
func sendFar(t *testing.T, i *instance, params, tls string, files func() []string) (id string) {
	t.Helper()
	text := "From: alice@here.test\r\nSubject: far\r\n\r\n.\r\n..\r\nGr\xc3\xbc\xc3\x9fe\r\n" + strings.Repeat("a line of it\r\n", 5000)
	c := i.submit(t, "alice")
	defer c.close()
	for _, step := range [][2]string{
		{"250", "MAIL FROM:<alice@here.test> BODY=8BITMIME" + params}, {"250", "RCPT TO:<nobody@far.test>"},
		{"250", "RCPT TO:<bob@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Robert@far.test"}, {"354", "DATA"},
	} {
		if _, err := c.cmd(step[0], "%s", step[1]); err != nil {
			t.Fatal(err)
		}
	}
	said, err := c.cmd("250", "%s.", string(stuff([]byte(text))))
	if err != nil {
		t.Fatal(err)
	}
	id = queuedAs.FindStringSubmatch(said)[1]
	i.queue.Await(t, "event=delivered id="+id+" to=<bob@far.test>.* "+tls)
	i.queue.Await(t, "event=failed id="+id+" to=<nobody@far.test>.* reply=\"550 ")
	dsn := i.queue.Await(t, `event=reported id=(\w+) parent=`+id+` to=<alice@here.test>`)[1]
	i.delivered(dsn, "alice")
	mtatest.Eventually(t, func() error {
		list := files()
		if len(list) != 1 {
			return fmt.Errorf("bob has %q, want one message", list)
		}
		b, err := os.ReadFile(list[0])
		if _, want, _ := strings.Cut(text, "\r\n\r\n"); err == nil && !strings.HasSuffix(string(b), "\n\n"+strings.ReplaceAll(want, "\r\n", "\n")) {
			err = fmt.Errorf("got %.600q", b)
		}
		return err
	})
	return id
}

func maildir(dir string) func() []string {
	return func() []string {
		list, _ := filepath.Glob(filepath.Join(dir, "new", "*"))
		return list
	}
}

// TestPostfixReceives: it refuses one of two recipients, and reports the success that alice wanted to know of.
func TestPostfixReceives(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u, err := user.Lookup("postfix")
	if err != nil {
		mtatest.Lacking(t, "%v", err)
	}
	ip := ownIP()
	mx := freePort(t, ip)
	tmp := t.TempDir()
	cert, key := certsAt(t, tmp, "mx.far.test")
	addr, dir := startPostfix(t, fmt.Sprintf("%s:%d", ip, mx), strings.NewReplacer("CERT", cert, "KEY", key, "UID", u.Uid, "GID", u.Gid).Replace(`
smtpd_tls_security_level = may
smtpd_tls_cert_file = CERT
smtpd_tls_key_file = KEY
virtual_mailbox_domains = far.test
virtual_mailbox_maps = inline:{ bob@far.test=bob/, jürgen@far.test=j/ }
virtual_mailbox_base = DIR/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
`))
	box := filepath.Join(dir, "mail")
	if err := os.Mkdir(box, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "postfix", box).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	i := start(t, options{ip: ip, port: mx, users: []string{"alice"}, more: "[[route]]\ndomain = \"far.test\"\nto = \"smtp:" + addr + "\"\n"})
	sendFar(t, i, " ENVID=a+2Bb RET=HDRS", overTLS, maildir(filepath.Join(box, "bob")))
	mtatest.Eventually(t, func() error { // its report comes back to us
		for _, f := range i.files("alice") {
			if b, err := os.ReadFile(f); err == nil && regexp.MustCompile(`(?s)Original-Envelope-Id: a\+b\n.*Original-Recipient: rfc822;Robert@far\.test\n.*Action: delivered\n`).Match(b) {
				return nil
			}
		}
		return fmt.Errorf("no report of success in %q", i.files("alice"))
	})
	id := sendUTF8(t, i)
	i.queue.Await(t, "event=delivered id="+id+" to=<jürgen@far.test>")
	mtatest.Eventually(t, func() error {
		list := maildir(filepath.Join(box, "j"))()
		if len(list) != 1 {
			return fmt.Errorf("jürgen has %q, want one message", list)
		}
		if b := readFile(t, list[0]); !strings.Contains(b, "To: Jürgen <jürgen@far.test>\n") {
			return fmt.Errorf("got %q", b)
		}
		return nil
	})
}

const eximServer = `primary_hostname = mx.far.test
exim_path = EXIM
spool_directory = DIR/exim
log_file_path = DIR/exim/%slog
keep_environment =
never_users =
local_interfaces = IP
daemon_smtp_ports = LISTEN
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/key.pem
tls_advertise_hosts = *
dsn_advertise_hosts = *
acl_smtp_rcpt = rcpt
acl_smtp_data = data
domainlist far = far.test
deliver_drop_privilege
begin acl
rcpt:
  accept domains = +far
         local_parts = bob
  deny message = no such user
data:
  accept
begin routers
in:
  driver = accept
  transport = in
begin transports
in:
  driver = appendfile
  maildir_format
  directory = DIR/exim/mail/bob
  user = Debian-exim
`

// TestEximReceives: as its own user, for with a configuration that is not Debian's it keeps no privilege.
func TestEximReceives(t *testing.T) {
	t.Parallel()
	exim := needPeer(t, "exim", "usr/sbin/exim4")
	dir := eximDir(t)
	certsAt(t, dir, "mx.far.test")
	ip := ownIP()
	listen := fmt.Sprint(freePort(t, ip))
	conf := filepath.Join(dir, "exim.conf")
	mtatest.Write(t, conf, strings.NewReplacer("DIR", dir, "EXIM", exim, "IP", ip, "LISTEN", listen).Replace(eximServer))
	if err := os.Chmod(conf, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exim, "-C", conf, "-bdf", "-q1m")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, log := range []string{"mainlog", "paniclog"} {
			if b, err := os.ReadFile(filepath.Join(dir, "exim", log)); err == nil && t.Failed() {
				t.Logf("%s:\n%s", log, b)
			}
		}
	})
	addr := ip + ":" + listen
	mtatest.Eventually(t, func() error {
		c, err := dialSMTP(addr)
		if err == nil {
			c.close()
		}
		return err
	})
	i := start(t, options{users: []string{"alice"}, more: "[[route]]\ndomain = \"far.test\"\nto = \"smtp:" + addr + "\"\n"})
	all := maildir(filepath.Join(dir, "exim", "mail", "bob"))
	sendFar(t, i, "", overTLS, func() []string {
		return slices.DeleteFunc(all(), func(file string) bool { // Exim's report of the success ends there too, for it delivers all to bob
			b, err := os.ReadFile(file)
			return err == nil && bytes.Contains(b, []byte("multipart/report"))
		})
	})
}

// TestLMTPReceives: an answer for each recipient after the content, over a unix socket and over TCP.
func TestLMTPReceives(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "lmtp")
	for _, c := range []struct{ listen, to string }{{socket, "lmtp:unix:" + socket}, {"", ""}} {
		s := (&mtatest.Sink{LMTP: true, Extensions: []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"}, On: func(command string) string {
			switch command {
			case "END <full@far.test>":
				return "552 5.2.2 full"
			case "END <busy@far.test>":
				return "450 4.2.0 busy"
			}
			return ""
		}}).Start(t, c.listen)
		if c.to == "" {
			c.to = "lmtp:" + s.Addr()
		}
		i := start(t, options{users: []string{"alice"}, more: "[[route]]\ndomain = \"far.test\"\nto = \"" + c.to + "\"\n"})
		id, _, err := i.submit(t, "alice").send([]byte(message("lmtp")), "alice@here.test", "bob@far.test", "full@far.test", "busy@far.test")
		if err != nil {
			t.Fatal(err)
		}
		i.queue.Await(t, "event=delivered id="+id+" to=<bob@far.test>")
		i.queue.Await(t, "event=failed id="+id+" to=<full@far.test>.* reply=\"552 5.2.2 full")
		i.queue.Await(t, "event=deferred id="+id+" to=<busy@far.test>.* reply=\"450 4.2.0 busy")
		if got := s.Messages(); len(got) != 1 || !strings.HasSuffix(got[0].Data, message("lmtp")) {
			t.Errorf("%s: got %+v", c.to, got)
		}
		i.stop()
		i.wantSound()
	}
}
