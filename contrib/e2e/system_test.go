package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"golang.org/x/sys/unix"
)

// TestMailForUsersOfTheMachine is the way of mail to accounts, with real users and no daemon but as-user as root.
func TestMailForUsersOfTheMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, options{more: `[programs.archive]
command = ["/bin/sh", "-c", "cat >>\"$DIR/archive\"; id -u >>\"$DIR/archive\""]
user = "list"
environment = []
[programs.slow]
command = ["/bin/sh", "-c", "trap '' TERM; sleep 1000 & sleep 1001"]
user = "list"
timeout = "1s"
[[route]]
domain = "fax.test"
to = "program:archive"
[pop3d]
login_attempts = 9
[mailboxes]
system_accounts = "nss"
`})
	m.text = strings.Replace(m.text, "environment = []", fmt.Sprintf("environment = [\"DIR=%s/archived\"]", m.dir), 1)
	m.text = strings.Replace(m.text, "\nmailboxes = \"system\"\n", fmt.Sprintf("\nmailboxes = \"system\"\naliases = \"%s/aliases\"\n", m.dir), 1)
	mtatest.Write(t, filepath.Join(m.dir, "aliases"), "lists: |archive, alice\nslow: |slow\n")
	if err := errorOf(os.Chmod(filepath.Join(m.dir, "aliases"), 0o644), os.WriteFile(m.conf, []byte(m.text), 0o644), os.Mkdir(filepath.Join(m.dir, "archived"), 0o777), os.Chown(filepath.Join(m.dir, "archived"), 38, 38)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*mtatest.Program{m.helper, m.smtpd, m.queue} {
		d.Signal(t, syscall.SIGHUP)
		d.Await(t, "event=reloaded")
	}
	for name, do := range map[string]func(*testing.T, *machine){
		"own":        ownMaildirs,
		"privileges": nothingElseNeedsRoot,
		"program":    programOfTheConfiguration,
	} {
		m.scene(t, name, do)
	}
	m.scene(t, "hostile", hostile)
	m.scene(t, "forward", forwards)
	m.scene(t, "elsewhere", ofTheNameService)
	m.scene(t, "session", sessions)
	m.scene(t, "crash", crashes) // the last: what it starts ends with it
}

// scene is a subtest on the machine.
func (m *machine) scene(t *testing.T, name string, do func(*testing.T, *machine)) {
	t.Run(name, func(t *testing.T) {
		whole := m.t
		m.t = t
		defer func() { m.t = whole }()
		do(t, m)
	})
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func ownMaildirs(t *testing.T, m *machine) {
	id := m.send("two", "alice", "Bob+lists")
	m.delivered(id, "alice")
	m.queue.Await(t, fmt.Sprintf(`event=delivered id=%s to=<Bob\+lists@%s> by=local`, id, m.domain))
	for _, name := range []string{"alice", "bob"} {
		if got := m.inbox(name, "Maildir"); !slices.Contains(got, "two") {
			t.Errorf("%s has %q", name, got)
		}
	}
	m.helper.Await(t, `event=as-user-started op=deliver user=bob peer=902`)
	c, err := dialSMTP(m.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.cmd("250", "EHLO client.test"); err != nil {
		t.Fatal(err)
	}
	if err := c.begin("sender@far.test", m.address("alice")); err != nil {
		t.Fatal(err)
	}
	for _, nobody := range []string{"root2", "daemon", "list", "posthouse-queue", "nobody"} {
		if _, err := c.cmd("550", "RCPT TO:<%s>", m.address(nobody)); err != nil {
			t.Error(err)
		}
	}
}

// ofTheNameService is mail to who is not in /etc/passwd, with a program in her ~/.forward.
func ofTheNameService(t *testing.T, m *machine) {
	if found, _ := filepath.Glob("/usr/lib*/libnss_extrausers.so.2"); len(found) == 0 {
		mtatest.Lacking(t, "libnss-extrausers")
	}
	id := m.send("from elsewhere", elsewhere)
	m.delivered(id, elsewhere)
	if got := m.inbox(elsewhere, "Maildir"); !slices.Contains(got, "from elsewhere") {
		t.Errorf("%s has %q", elsewhere, got)
	}
	m.owns(elsewhere, ".forward", "\"|/bin/sh -c 'id -u >got'\"\n", 0o644)
	id = m.send("for her program", elsewhere)
	m.queue.Await(t, fmt.Sprintf(`event=finished id=%s`, id))
	if b, err := os.ReadFile(filepath.Join(m.home(elsewhere), "got")); err != nil || string(b) != fmt.Sprintln(people[elsewhere]) {
		t.Errorf("her program: got %q, %v", b, err)
	}
}

// nothingElseNeedsRoot holds the running processes to what the manual says of them.
func nothingElseNeedsRoot(t *testing.T, m *machine) {
	for _, c := range []struct {
		d         *mtatest.Program
		uid, caps string
	}{
		{m.smtpd, "901", "0000000000000000"}, {m.queue, "902", "0000000000000000"}, {m.pop3d, "903", "0000000000000000"},
		{m.helper, "0", fmt.Sprintf("%016x", 1<<unix.CAP_SETUID|1<<unix.CAP_SETGID|1<<unix.CAP_KILL|1<<unix.CAP_DAC_READ_SEARCH)},
	} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.d.PID))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"Uid:\t" + c.uid + "\t" + c.uid + "\t" + c.uid, "CapEff:\t" + c.caps, "CapPrm:\t" + c.caps, "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(b), "\n"+line) {
				t.Errorf("%s: no %q in\n%s", c.d.Name, line, b)
			}
		}
	}
}

func programOfTheConfiguration(t *testing.T, m *machine) {
	id := m.send("archived", "lists")
	m.queue.Await(t, fmt.Sprintf(`event=delivered id=%s to=<%s> by=program`, id, m.address("lists")))
	m.delivered(id, "alice")
	b, err := os.ReadFile(filepath.Join(m.dir, "archived/archive"))
	if err != nil || !strings.Contains(string(b), "Subject: archived\n\n.text\n38\n") {
		t.Errorf("got %q, %v; want the message, and uid 38", b, err)
	}
	if got := m.inbox("alice", "Maildir"); !slices.Contains(got, "archived") {
		t.Errorf("alice has %q", got)
	}
	m.helper.Await(t, `event=as-user-started op=program user=list program=archive peer=902`)
}

// hostile is what users do to their own mail, and others to theirs: all of it waits, with a line that says why, and nobody
// else's is held up.
func hostile(t *testing.T, m *machine) {
	small := filepath.Join(m.home("dora"), "full")
	for _, c := range []struct {
		name string
		make func() error
		want string
	}{
		{"a home that all may write to", func() error { return os.Chmod(m.home("carol"), 0o777) }, "home .* is writable by everybody"},
		{"a link to the passwords", func() error { return os.Symlink("/etc/shadow", m.home("carol")+"/.forward") }, "permission denied"},
		{"a file of another", func() error {
			return errorOf(os.WriteFile(m.home("carol")+"/.forward", []byte("x@far.test\n"), 0o644), os.Chown(m.home("carol")+"/.forward", people["bob"], people["bob"]))
		}, "it belongs to uid 20002"},
		{"a mailbox of another", func() error {
			m.owns("carol", ".forward", m.home("bob")+"/Maildir/\n", 0o644)
			return nil
		}, "permission denied"},
		{"a link into another's mailbox", func() error {
			return errorOf(os.RemoveAll(m.home("carol")+"/Maildir"), os.Symlink(m.home("bob")+"/Maildir", m.home("carol")+"/Maildir"))
		}, "permission denied"},
		{"a mailbox file", func() error { m.owns("carol", ".forward", "/var/mail/carol\n", 0o644); return nil }, "would be a file of many messages"},
		{"a program that prints a gigabyte", func() error {
			m.owns("carol", ".forward", "\"|/bin/sh -c 'head -c 1000000000 /dev/zero; exit 75'\"\n", 0o644)
			return nil
		}, "octets more"},
		{"a program that becomes nobody", func() error {
			m.owns("carol", ".forward", "\"|/bin/sh -c 'chown 0 /; kill -9 $PPID; setsid sleep 1000 & exit 75'\"\n", 0o644)
			return nil
		}, "deliver-local ended with status -1"},
		{"a program that forks", func() error {
			m.owns("carol", ".forward", "\"|/bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do setsid sh -c \\\"sleep 1000 & sleep 1001\\\" & done; exit 75'\"\n", 0o644)
			return nil
		}, "exit status 75"},
		{"a full home", func() error {
			m.owns("carol", ".forward", small+"/Maildir/\n", 0o644)
			return errorOf(os.MkdirAll(small, 0o755), m.any("mount", "-t", "tmpfs", "-o", "size=64k,uid=20003,gid=20003,mode=0700", "tmpfs", small),
				os.Chmod(m.home("dora"), 0o755), m.any("sh", "-c", "head -c 1000000 /dev/zero >"+small+"/filler || true"))
		}, "no space left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := m.queue.Mark()
			if err := c.make(); err != nil {
				t.Fatal(err)
			}
			id := m.send(c.name, "carol", "alice")
			m.queue.AwaitFrom(t, mark, fmt.Sprintf(`event=deferred id=%s to=<%s> .*%s`, id, m.address("carol"), c.want))
			m.delivered(id, "alice")
			if err := errorOf(os.RemoveAll(m.home("carol")+"/.forward"), os.Chmod(m.home("carol"), 0o700)); err != nil {
				t.Fatal(err)
			}
			if l, err := os.Readlink(m.home("carol") + "/Maildir"); err == nil {
				if err := os.Remove(m.home("carol") + "/Maildir"); err != nil {
					t.Fatal(l, err)
				}
			}
		})
	}
	m.helper.Await(t, `event=as-user-ended op=deliver user=carol .*left=[1-9]`)
	id := m.send("slow", "slow", "alice")
	m.queue.Await(t, fmt.Sprintf(`event=deferred id=%s to=<%s> .*killed after 1s`, id, m.address("slow")))
	m.delivered(id, "alice")
	mtatest.Eventually(t, func() error {
		if out, err := os.ReadFile("/proc/" + fmt.Sprint(m.helper.PID) + "/task/" + fmt.Sprint(m.helper.PID) + "/children"); err == nil && len(out) > 0 {
			return fmt.Errorf("as-user has children left: %s", out)
		}
		return nil
	})
	if got := m.inbox("bob", "Maildir"); slices.Contains(got, "a mailbox of another") || slices.Contains(got, "a link into another's mailbox") {
		t.Errorf("bob has %q", got)
	}
}

// forwards is what ~/.forward is for.
func forwards(t *testing.T, m *machine) {
	m.owns("bob", ".forward", "\\bob, carol, ./Maildir/.copy/, \"|/bin/sh -c 'cat >got; id -u >>got; echo $EXTENSION >>got'\"\n", 0o644)
	id := m.send("forwarded", "bob+x")
	m.queue.Await(t, fmt.Sprintf(`event=expanded id=%s to=<bob\+x@%s> members=4`, id, m.domain))
	m.queue.Await(t, fmt.Sprintf(`event=finished id=%s`, id))
	for _, where := range []struct{ name, folder string }{{"bob", "Maildir/.copy"}, {"carol", "Maildir"}} {
		if got := m.inbox(where.name, where.folder); !slices.Contains(got, "forwarded") {
			t.Errorf("%s has %q", where.name, got)
		}
	}
	if got := slices.DeleteFunc(m.inbox("bob", "Maildir"), func(s string) bool { return s != "forwarded" }); len(got) != 2 { // the mailbox's, and the copy's
		t.Errorf("bob has it %d times", len(got))
	}
	b, err := os.ReadFile(filepath.Join(m.home("bob"), "got"))
	if err != nil || !bytes.HasSuffix(b, []byte("Subject: forwarded\n\n.text\n20002\nx\n")) || !bytes.HasPrefix(b, []byte("Return-Path: <sender@far.test>\nDelivered-To: "+m.address("bob+x")+"\n")) {
		t.Errorf("the program got %q, %v", b, err)
	}
	_ = os.Remove(filepath.Join(m.home("bob"), ".forward"))
}

// sessions are users of the machine who log in: with their passwords, at SMTP and POP3.
func sessions(t *testing.T, m *machine) {
	c := m.submit(t, "dora")
	id, _, err := c.send([]byte("From: dora@here.test\r\nSubject: from dora\r\n\r\ntext\r\n"), m.address("dora"), m.address("dora"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd("550", "MAIL FROM:<%s>", m.address("bob")); err != nil {
		t.Errorf("dora as bob: %v", err)
	}
	m.helper.Await(t, `event=as-user-checked user=dora peer=901`)
	m.delivered(id, "dora")
	pop := m.login(t, "dora")
	m.pop3d.Await(t, `event=pop3-login .*login=dora@here.test`)
	pid := m.helper.Await(t, `event=as-user-started op=session user=dora peer=903 pid=(\d+)`)[1]
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Name:\tpop3d", "Uid:\t20004\t20004\t20004\t20004", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains("\n"+string(b), "\n"+line) {
			t.Errorf("no %q in\n%s", line, b)
		}
	}
	if _, err := m.dialPOP3("dora"); err == nil || !strings.Contains(err.Error(), "[IN-USE]") {
		t.Errorf("a second session: got %v, want it refused", err)
	}
	list, err := pop.list("UIDL")
	if err != nil || len(list) != len(m.inbox("dora", "Maildir")) {
		t.Fatalf("got %q, %v", list, err)
	}
	n := slices.IndexFunc(list, func(u string) bool { return strings.HasPrefix(u, id) }) + 1
	text, err := pop.fetch(n)
	if err != nil || !bytes.HasSuffix(text, []byte("Subject: from dora\r\n\r\ntext\r\n")) && !bytes.Contains(text, []byte("Subject: from dora\r\n")) {
		t.Errorf("got %q, %v", text, err)
	}
	for _, cmd := range []string{fmt.Sprintf("DELE %d", n), "NOOP", "QUIT"} {
		if _, err := pop.cmd("%s", cmd); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
	}
	m.helper.Await(t, `event=as-user-ended op=session user=dora pid=`+pid+` status="exit status 0"`)
	m.pop3d.Await(t, `event=pop3-closed .*login=dora@here.test reason=quit`)
	if got := m.inbox("dora", "Maildir"); slices.Contains(got, "from dora") {
		t.Errorf("it was deleted, and dora has %q", got)
	}
	bad, err := tls.Dial("tcp", m.pop3s, m.certs.Client(m.ip))
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	for _, who := range []string{"dora", "root"} {
		wrong := &popConn{bad, bufio.NewReader(bad)}
		if who == "dora" {
			if _, err := wrong.line(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := wrong.cmd("USER %s", m.address(who))
		if err == nil {
			_, err = wrong.cmd("PASS wrong")
		}
		if err == nil || !strings.Contains(err.Error(), "[AUTH] bad login or password") {
			t.Errorf("%s: got %v", who, err)
		}
	}
}

// crashes kills queue-runner as soon as a message is in its Maildir: it must be there once in the end.
func crashes(t *testing.T, m *machine) {
	for n := range 4 {
		subject := fmt.Sprintf("crash %d", n)
		id := m.send(subject, "dora")
		pattern := filepath.Join(m.home("dora"), "Maildir/new", id+"*")
		for end := time.Now().Add(mtatest.Patience); ; {
			if found, _ := filepath.Glob(pattern); len(found) > 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s was not delivered", id)
			}
		}
		m.queue.Kill()
		m.queue = m.run("queue-runner", "posthouse-queue")
		m.queue.Await(t, "event=ready")
		mtatest.Eventually(t, func() error {
			if out := m.command("posthouse", "queue", "list", "--config", m.conf); strings.Contains(out, id) {
				return fmt.Errorf("%s is in the queue", id)
			}
			return nil
		})
		if got := slices.DeleteFunc(m.inbox("dora", "Maildir"), func(s string) bool { return s != subject }); len(got) != 1 {
			t.Errorf("%s is there %d times", subject, len(got))
		}
	}
}
