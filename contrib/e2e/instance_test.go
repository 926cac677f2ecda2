package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// options are what a test wants otherwise than it comes.
type options struct {
	ip     string // default: one of its own in 127.0.0.0/8
	port   int    // of the mx listener; default: a free one
	domain string // default: here.test
	inside string // lines of [domains."domain"]
	top    string // lines in front of all tables
	more   string // tables
	users  []string
	spool  string // default: a folder of the instance
	mail   string
	bin    string // of the programs; default: those of this tree
}

// instance is a private Posthouse: configuration, users, folders, and the three programs.
type instance struct {
	t      testing.TB
	dir    string
	conf   string // the configuration file
	text   string // what is in it
	ip     string
	domain string
	certs  *mtatest.Certs
	bin    string // of the programs

	spool, mail                 string
	mx, submission, submissions string // addresses
	pop3, pop3s, socket         string
	smtpd, queue, pop3d         *mtatest.Program
	mu                          sync.Mutex // guards all
	all                         []*mtatest.Program
}

// password is everybody's.
const password = "correct horse"

// instances counts them, so that each can have an address of its own.
var instances atomic.Uint32

// ownIP is an address of the loopback network that no other instance has, here or in another run of the tests at the
// same time.
func ownIP() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&127, pid&255, 1+instances.Add(1)%254)
}

// handedOut are the ports that freePort has given away in this run.
var handedOut sync.Map

// freePort is a port that is free on all the addresses.
func freePort(t testing.TB, ips ...string) int {
	t.Helper()
	for range 20 {
		port, free := 0, true
		for _, ip := range ips {
			l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, port))
			if err != nil {
				free = false
				break
			}
			defer l.Close()
			port = l.Addr().(*net.TCPAddr).Port
		}
		if _, taken := handedOut.LoadOrStore(port, true); free && !taken {
			return port
		}
	}
	t.Fatalf("no port is free on all of %v", ips)
	return 0
}

// newInstance makes an instance without starting it.
func newInstance(t testing.TB, o options) *instance {
	t.Helper()
	if o.ip == "" {
		o.ip = ownIP()
	}
	if o.domain == "" {
		o.domain = "here.test"
	}
	if o.users == nil {
		o.users = []string{"alice", "bob"}
	}
	dir, err := os.MkdirTemp("", "ph") // a test's own name may be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	i := &instance{t: t, dir: dir, conf: filepath.Join(dir, "posthouse.toml"), ip: o.ip, domain: o.domain, spool: o.spool, mail: o.mail, bin: o.bin}
	if i.bin == "" {
		i.bin = bin
	}
	i.certs = mtatest.NewCerts(t, "mx."+o.domain, "localhost", o.ip)
	if i.spool == "" {
		i.spool = filepath.Join(dir, "spool")
	}
	if i.mail == "" {
		i.mail = filepath.Join(dir, "mail")
	}
	i.socket = filepath.Join(dir, "run/smtpd/submit.sock")
	if o.port == 0 {
		o.port = freePort(t, o.ip)
	}
	i.mx = fmt.Sprintf("%s:%d", o.ip, o.port)
	for _, a := range []*string{&i.submission, &i.submissions, &i.pop3, &i.pop3s} {
		*a = fmt.Sprintf("%s:%d", o.ip, freePort(t, o.ip))
	}
	i.text = i.configuration(o)
	mtatest.Write(t, i.conf, i.text)
	mtatest.Write(t, filepath.Join(dir, "users"), "")
	for _, u := range o.users {
		i.addUser(u)
	}
	t.Cleanup(i.dump)
	return i
}

func (i *instance) configuration(o options) string {
	// Most senders of the tests are at names that no name server knows.
	const anySender = "require_sender_domain = false\n"
	top := "smtpd." + anySender
	if strings.Contains(o.more, "[smtpd]\n") {
		top, o.more = "", strings.Replace(o.more, "[smtpd]\n", "[smtpd]\n"+anySender, 1)
	}
	return top + fmt.Sprintf(`hostname = "mx.%[1]s"
state = "%[2]s/state"
run = "%[2]s/run"
log.format = "text"
spool.path = %[3]q
mailboxes.path = "%[4]s/{domain}/{local}"
users.file = "%[2]s/users"
tls.certificate = %[5]q
tls.key = %[6]q
%[7]s
[domains."%[1]s"]
%[8]s
%[9]s
[[smtpd.listen]]
address = %[10]q
role = "mx"
[[smtpd.listen]]
address = %[11]q
role = "submission"
[[smtpd.listen]]
address = %[12]q
role = "submission"
tls = "implicit"
[[smtpd.listen]]
address = "unix:%[13]s"
role = "local"
[[pop3d.listen]]
address = %[14]q
[[pop3d.listen]]
address = %[15]q
tls = "implicit"
`, o.domain, i.dir, i.spool, i.mail, i.certs.CertFile, i.certs.KeyFile, o.top, o.inside, o.more,
		i.mx, i.submission, i.submissions, i.socket, i.pop3, i.pop3s)
}

// start makes an instance and waits until all of it is ready.
func start(t testing.TB, o options) *instance {
	t.Helper()
	i := newInstance(t, o)
	i.startAll()
	return i
}

func (i *instance) startAll() {
	i.t.Helper()
	i.smtpd, i.queue, i.pop3d = i.launch("smtpd"), i.launch("queue-runner"), i.launch("pop3d")
	for _, d := range []*mtatest.Program{i.smtpd, i.queue, i.pop3d} {
		d.Await(i.t, "event=ready")
	}
}

// launch starts one program on the instance, without waiting for it.
func (i *instance) launch(name string) *mtatest.Program {
	i.t.Helper()
	d := mtatest.Start(i.t, filepath.Join(i.bin, name), "--config", i.conf)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, d)
	return d
}

// restart starts one program and waits until it is ready.
func (i *instance) restart(d **mtatest.Program) {
	i.t.Helper()
	*d = i.launch((*d).Name)
	(*d).Await(i.t, "event=ready")
}

// stop ends the three programs, in the order of the mail.
func (i *instance) stop() {
	i.t.Helper()
	for _, d := range []*mtatest.Program{i.smtpd, i.queue, i.pop3d} {
		if d.Running() {
			d.Terminate(i.t)
		}
	}
}

// dump shows the logs of a test that has failed.
func (i *instance) dump() {
	if !i.t.Failed() {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, d := range i.all[max(0, len(i.all)-6):] {
		i.t.Log(d.Tail(60))
	}
}

// posthouse runs the operator's command, and returns its exit status and all that it printed.
func (i *instance) posthouse(stdin string, args ...string) (int, string) {
	i.t.Helper()
	cmd := exec.Command(filepath.Join(i.bin, "posthouse"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		i.t.Fatalf("posthouse: %v", err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (i *instance) addUser(local string) {
	i.t.Helper()
	if status, out := i.posthouse(password+"\n", "user", "add", "--config", i.conf, i.address(local)); status != 0 {
		i.t.Fatalf("user add: status %d, %s", status, out)
	}
}

// check is `posthouse queue check`.
func (i *instance) check() (status int, out string) {
	i.t.Helper()
	return i.posthouse("", "queue", "check", "--config", i.conf)
}

func (i *instance) wantSound() {
	i.t.Helper()
	if status, out := i.check(); status != 0 {
		i.t.Errorf("posthouse queue check: got status %d, want 0:\n%s", status, out)
	}
}

func (i *instance) address(local string) string { return local + "@" + i.domain }

// mailbox is the Maildir of a user.
func (i *instance) mailbox(local string) string { return filepath.Join(i.mail, i.domain, local) }

// files are the paths of a user's messages.
func (i *instance) files(local string) []string {
	i.t.Helper()
	var all []string
	for _, sub := range []string{"new", "cur"} {
		list, err := filepath.Glob(filepath.Join(i.mailbox(local), sub, "*"))
		if err != nil {
			i.t.Fatal(err)
		}
		all = append(all, list...)
	}
	return all
}

// delivered waits until queue-runner tells that a message has reached a local user.
func (i *instance) delivered(id, local string) {
	i.t.Helper()
	i.queue.Await(i.t, fmt.Sprintf(`event=delivered id=%s to=<%s> by=local`, id, i.address(local)))
}
