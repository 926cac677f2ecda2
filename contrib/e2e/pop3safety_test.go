package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// fill puts messages into a user's Maildir as another delivery agent does, and returns them by what their names begin with.
func (i *instance) fill(t *testing.T, local string, n int) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(i.mailbox(local), d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for k := range n {
		name := fmt.Sprintf("%d.M%dP7.host", 1700000000+k, k)
		all[name] = fmt.Sprintf("Subject: message %d\n\n%s\n", k, strings.Repeat("text\n", k%50))
		mtatest.Write(t, filepath.Join(i.mailbox(local), "new", name), all[name])
	}
	return all
}

// TestACrashInTheMiddleOfQuitLeavesEachMessageWholeOrGone kills the server while it removes half of a mailbox.
func TestACrashInTheMiddleOfQuitLeavesEachMessageWholeOrGone(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	const messages = 3000
	all := i.fill(t, "bob", messages)
	c := i.login(t, "bob")
	var commands bytes.Buffer
	for n := 1; n <= messages; n += 2 {
		fmt.Fprintf(&commands, "DELE %d\r\n", n)
	}
	go func() { _, _ = c.nc.Write(commands.Bytes()) }()
	for n := 1; n <= messages; n += 2 {
		if _, err := c.line(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fmt.Fprint(c.nc, "QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	mtatest.Eventually(t, func() error { // not before it has begun
		if n := len(i.files("bob")); n == messages {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	i.pop3d.Kill()
	left := 0
	for _, path := range i.files("bob") {
		name, _, _ := strings.Cut(filepath.Base(path), ":")
		if want, got := all[name], readFile(t, path); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		left++
		delete(all, name)
	}
	for name := range all {
		var k int
		if _, err := fmt.Sscanf(name, "%d.", &k); err != nil || k%2 == 1 {
			t.Errorf("%s is gone: nobody has marked it", name)
		}
	}
	i.restart(&i.pop3d)
	again := i.login(t, "bob")
	defer again.close()
	if line, err := again.cmd("STAT"); err != nil || !strings.HasPrefix(line, fmt.Sprintf("+OK %d ", left)) {
		t.Errorf("the next session: got %q, %v; want %d messages", line, err, left)
	}
}

// breakable makes a filesystem in a file and mounts it. cut is a loss of power: what was not synced is gone, and the
// filesystem is mounted again.
func breakable(t *testing.T) (dir string, cut func()) {
	t.Helper()
	needRoot(t)
	mtatest.Need(t, "mkfs.ext4")
	image := filepath.Join(t.TempDir(), "image")
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if out, err := exec.Command("mkfs.ext4", "-q", image, "32M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	mount := func() {
		if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
			mtatest.Lacking(t, "mount: %v: %s", err, out)
		}
	}
	unmount := func() {
		mtatest.Eventually(t, func() error { // a program that another test starts may have our files open for a moment
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				return fmt.Errorf("umount: %w: %s", err, out)
			}
			return nil
		})
	}
	mount()
	t.Cleanup(unmount)
	return dir, func() {
		t.Helper()
		const shutdown, withoutJournal = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutJournal)
		_ = f.Close()
		if err != nil {
			mtatest.Lacking(t, "shut a filesystem down: %v", err)
		}
		unmount()
		mount()
	}
}

// TestWhatQuitHasRemovedStaysRemovedOverALossOfPower: a client that was told +OK keeps no note of what it has fetched.
func TestWhatQuitHasRemovedStaysRemovedOverALossOfPower(t *testing.T) {
	t.Parallel()
	dir, cut := breakable(t)
	i := start(t, options{mail: filepath.Join(dir, "mail")})
	i.fill(t, "bob", 10)
	unix.Sync()
	c := i.login(t, "bob")
	for _, cmd := range []string{"DELE 2", "DELE 3", "DELE 7", "QUIT"} {
		if _, err := c.cmd("%s", cmd); err != nil {
			t.Fatal(err)
		}
	}
	i.stop()
	cut()
	var left []string
	for _, path := range i.files("bob") {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		left = append(left, strings.TrimPrefix(name, "170000000"))
	}
	slices.Sort(left)
	if want := []string{"0", "3", "4", "5", "7", "8", "9"}; !slices.Equal(left, want) {
		t.Errorf("got messages %q, want %q", left, want)
	}
}

const dovecotConf = `protocols = pop3
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
instance_name = e2e%[5]s
mail_location = maildir:%[2]s
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
passdb {
  driver = static
  args = password=%[3]s
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=%[2]s
}
service pop3-login {
  inet_listener pop3 {
    address = %[4]s
    port = %[5]s
  }
  inet_listener pop3s {
    port = 0
  }
}
`

// TestWhatWasFetchedFromDovecotStaysFetched asks Dovecot for the UIDLs of a Maildir, and then us.
func TestWhatWasFetchedFromDovecotStaysFetched(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dovecot := mtatest.Need(t, "dovecot")
	i := newInstance(t, options{more: "[pop3d]\nuidl = \"dovecot\"\n"})
	i.fill(t, "bob", 20)
	dir, port := filepath.Join(i.dir, "dovecot"), freePort(t, i.ip)
	open := exec.Command("sh", "-c", `chmod 755 "$1" "$1/mail" "$1/mail/here.test" && chown -R 65534:65534 "$1/mail/here.test/bob" && mkdir "$1/dovecot"`, "sh", i.dir)
	if out, err := open.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conf := filepath.Join(dir, "dovecot.conf")
	mtatest.Write(t, conf, fmt.Sprintf(dovecotConf, dir, i.mailbox("bob"), strings.ReplaceAll(password, " ", "-"), i.ip, fmt.Sprint(port)))
	cmd := exec.Command(dovecot, "-F", "-c", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	var nc net.Conn
	mtatest.Eventually(t, func() (err error) {
		nc, err = net.Dial("tcp", net.JoinHostPort(i.ip, fmt.Sprint(port)))
		return err
	})
	theirs := i.uidls(t, nc, strings.ReplaceAll(password, " ", "-"))
	if len(theirs) != 20 {
		t.Fatalf("got %q of Dovecot, want 20 names", theirs)
	}
	i.startAll()
	i.deliverLater(t)
	c := i.login(t, "bob")
	defer c.close()
	ours, err := c.list("UIDL")
	if err != nil || len(ours) != 21 {
		t.Fatalf("got %q, %v; want 21 names", ours, err)
	}
	if d := cmp.Diff(theirs, ours[:20]); d != "" {
		t.Errorf("UIDL (-Dovecot's +ours):\n%s", d)
	}
}

// TestWhatWasFetchedFromCourierStaysFetched is the same for Courier, whose server takes its connection from who has checked
// the password.
func TestWhatWasFetchedFromCourierStaysFetched(t *testing.T) {
	t.Parallel()
	courier := needPeer(t, "courier", "usr/lib/courier/courier/courierpop3d")
	i := newInstance(t, options{more: "[pop3d]\nuidl = \"courier\"\n"})
	i.fill(t, "bob", 20)
	mtatest.Write(t, filepath.Join(i.mailbox("bob"), "cur", "1600000000.M1+'P7.host,S=6:2,S"), "a: b\n\n")
	theirs := courierUIDLs(t, courier, i.mailbox("bob"))
	if len(theirs) != 21 {
		t.Fatalf("got %q of Courier, want 21 names", theirs)
	}
	i.startAll()
	i.deliverLater(t)
	c := i.login(t, "bob")
	defer c.close()
	ours, err := c.list("UIDL")
	if err != nil || len(ours) != 22 {
		t.Fatalf("got %q, %v; want 22 names", ours, err)
	}
	if d := cmp.Diff(theirs, ours[:21]); d != "" {
		t.Errorf("UIDL (-Courier's +ours):\n%s", d)
	}
}

// courierUIDLs are the names that courierpop3d gives the messages of a Maildir.
func courierUIDLs(t *testing.T, program, mailbox string) (all []string) {
	t.Helper()
	root := strings.TrimSuffix(program, "/usr/lib/courier/courier/courierpop3d")
	libraries, err := filepath.Glob(root + "/usr/lib/*-linux-gnu*")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, mailbox)
	cmd.Stdin = strings.NewReader("UIDL\r\nQUIT\r\n")
	cmd.Env = []string{"AUTHENTICATED=bob", "AUTHADDR=bob", "TCPREMOTEIP=127.0.0.1",
		"LD_LIBRARY_PATH=" + strings.Join(append(libraries, root+"/usr/lib", root+"/usr/lib/courier-authlib"), ":")}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	for line := range strings.SplitSeq(string(out), "\r\n") {
		if number, uidl, ok := strings.Cut(line, " "); ok && number == fmt.Sprint(len(all)+1) {
			all = append(all, uidl)
		}
	}
	return all
}

// deliverLater adds a message that the former server has not seen.
func (i *instance) deliverLater(t *testing.T) {
	t.Helper()
	mtatest.Write(t, filepath.Join(i.mailbox("bob"), "new", "1800000000.M1P7.host"), "Subject: later\n\nlater\n")
}

// uidls asks a server without TLS.
func (i *instance) uidls(t *testing.T, nc net.Conn, secret string) []string {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(talkTime))
	c := &popConn{nc, bufio.NewReader(nc)}
	defer c.close()
	if _, err := c.line(); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{"USER bob", "PASS " + secret} {
		if _, err := c.cmd("%s", cmd); err != nil {
			t.Fatal(err)
		}
	}
	all, err := c.list("UIDL")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.cmd("QUIT"); err != nil {
		t.Fatal(err)
	}
	return all
}
