package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// small mounts a filesystem of so many megabytes.
func small(t *testing.T, megabytes int) string {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes)); err != nil {
		mtatest.Lacking(t, "mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the room of a filesystem but so many octets; the function that it returns gives it back.
func fill(t *testing.T, dir string, but int) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	var n int64
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n += int64(len(block))
	}
	if err := f.Truncate(max(0, n-int64(but))); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// tokens counts the messages of a mailbox by their tokens.
func (i *instance) tokens(t *testing.T, local string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, path := range i.files(local) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := tokenLine.FindSubmatch(b)
		if m == nil {
			t.Fatalf("%s has no token: %.300q", path, b)
		}
		count[string(m[1])]++
	}
	return count
}

// wantTokens waits until a mailbox has these messages, and then sees that it has them once and no others.
func (i *instance) wantTokens(t *testing.T, local string, want ...string) {
	t.Helper()
	mtatest.Eventually(t, func() error {
		got := i.tokens(t, local)
		for _, w := range want {
			if got[w] == 0 {
				return fmt.Errorf("%s lacks %s of %d messages", local, w, len(want))
			}
		}
		return nil
	})
	got := i.tokens(t, local)
	for _, w := range want {
		if got[w] != 1 {
			t.Errorf("%s: got %s %d times, want once", local, w, got[w])
		}
		delete(got, w)
	}
	if len(got) > 0 {
		t.Errorf("%s: got %v, which were not accepted", local, got)
	}
}

func tokenMessage(token string, size int) []byte {
	return []byte("X-Token: " + token + "\r\nSubject: x\r\n\r\n" + strings.Repeat("0123456789abcd\r\n", size/16))
}

func TestFullSpoolRefusesLosesNothingAndGoesOn(t *testing.T) {
	t.Parallel()
	disk := small(t, 24)
	i := start(t, options{spool: filepath.Join(disk, "spool"), more: "[smtpd]\nreserve_disk = \"0\"\n"})
	var taken []string
	send := func(token string, size int) error {
		c := i.connect(t)
		defer c.close()
		_, _, err := c.send(tokenMessage(token, size), "x@away.test", i.address("bob"))
		if err == nil {
			taken = append(taken, token)
		}
		return err
	}
	if err := errors.Join(send("first", 100), send("first-large", 1<<20)); err != nil {
		t.Fatal(err)
	}
	i.wantTokens(t, "bob", taken...)

	for round, size := range []int{2000, 600_000} {
		mark := i.smtpd.Mark()
		free := fill(t, disk, 1<<20)
		err := i.withoutQueue(t, func() (err error) { // which makes room while it is quicker than this
			for n := 0; err == nil && n < 3000; n++ {
				err = send(fmt.Sprintf("full-%d-%d", round, n), size)
			}
			return err
		})
		if err == nil {
			t.Fatal("the disk does not get full")
		}
		if !strings.Contains(err.Error(), `"452 4.3.1`) || strings.Contains(err.Error(), disk) {
			t.Errorf("messages of %d octets: got %v, want 452 4.3.1 and no word of where", size, err)
		}
		i.smtpd.AwaitFrom(t, mark, `level=error event=fault .*no space left on device`)
		free()
		if err := send(fmt.Sprintf("after-%d", round), size); err != nil {
			t.Errorf("with room again: got %v", err)
		}
		i.wantTokens(t, "bob", taken...)
	}

	mtatest.Write(t, i.conf, strings.Replace(i.text, `reserve_disk = "0"`, `reserve_disk = "1GB"`, 1))
	i.smtpd.Signal(t, sighup)
	i.smtpd.Await(t, "event=reloaded")
	if err := send("reserve", 10); err == nil || !strings.Contains(err.Error(), `"452 4.3.1`) {
		t.Errorf("less than reserve_disk: got %v, want 452 4.3.1", err)
	}
	i.smtpd.Await(t, `event=fault .*smtpd.reserve_disk wants`)
	i.stop()
	i.startAll()
	i.wantTokens(t, "bob", taken...)
	i.stop()
	i.wantSound()
}

// withoutQueue stops queue-runner in its tracks while f runs.
func (i *instance) withoutQueue(t *testing.T, f func() error) error {
	t.Helper()
	i.queue.Signal(t, syscall.SIGSTOP)
	defer i.queue.Signal(t, syscall.SIGCONT)
	return f()
}

func TestFullMailboxDiskDefersAndGoesOn(t *testing.T) {
	t.Parallel()
	disk := small(t, 4)
	i := start(t, options{mail: filepath.Join(disk, "mail"), more: "[queue]\nretry_first = \"1s\"\nretry_max = \"1s\"\n"})
	i.delivered(i.deposit(t, string(tokenMessage("first", 100)), "bob"), "bob")
	free := fill(t, disk, 0)
	small := i.deposit(t, string(tokenMessage("small", 100)), "bob", "alice")
	large := i.deposit(t, string(tokenMessage("large", 1<<20)), "bob")
	for _, id := range []string{small, large} {
		i.queue.Await(t, `level=warn event=deferred id=`+id+` to=<bob@here.test> reply="4\d\d 4\.\d\.\d.*err=".*`+i.mailbox("bob")+`.*no space left on device`)
	}
	i.queue.Await(t, `event=deferred id=`+small+` to=<alice@here.test>`)
	i.queue.Await(t, `event=deferred id=`+large+` to=<bob@here.test>.*tries=2`)
	free()
	i.wantTokens(t, "bob", "first", "small", "large")
	i.wantTokens(t, "alice", "small")
	if n := len(i.fetchAll(t, "bob")); n != 3 {
		t.Errorf("got %d messages over POP3, want 3", n)
	}
	i.stop()
	i.wantSound()
	if left, err := filepath.Glob(filepath.Join(i.mailbox("bob"), "tmp/*")); err != nil || len(left) != 0 {
		t.Errorf("tmp: got %v, %v; want nothing", left, err)
	}
}

func TestMaildirThatCannotBeWrittenDefersAlone(t *testing.T) {
	t.Parallel()
	i := start(t, options{more: "[queue]\nretry_first = \"1s\"\nretry_max = \"1s\"\n"})
	mtatest.Write(t, i.mailbox("bob"), "a file where the Maildir should be")
	id := i.deposit(t, string(tokenMessage("one", 100)), "bob", "alice")
	i.wantTokens(t, "alice", "one")
	i.queue.Await(t, `level=warn event=deferred id=`+id+` to=<bob@here.test> reply="451 4\.\d\.\d[^"]*".*err=.*`+i.mailbox("bob")+`.*not a directory`)
	if c, err := i.dialPOP3("bob"); err == nil || !strings.Contains(err.Error(), "-ERR [SYS/PERM]") {
		t.Errorf("POP3: got %v, %v; want -ERR [SYS/PERM]: a person has to mend it (RFC 3206 4)", c, err)
	}
	if err := os.Remove(i.mailbox("bob")); err != nil {
		t.Fatal(err)
	}
	i.wantTokens(t, "bob", "one")
	i.wantTokens(t, "alice", "one")
	i.stop()
	i.wantSound()
}

func TestReadOnlyMailboxDiskDefersAndGoesOn(t *testing.T) {
	t.Parallel()
	disk := small(t, 4)
	i := start(t, options{mail: filepath.Join(disk, "mail"), more: "[queue]\nretry_first = \"1s\"\nretry_max = \"1s\"\n"})
	i.delivered(i.deposit(t, string(tokenMessage("first", 100)), "bob"), "bob")
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		mtatest.Lacking(t, "remount: %v", err)
	}
	id := i.deposit(t, string(tokenMessage("second", 100)), "bob")
	i.queue.Await(t, `event=deferred id=`+id+` .*err=.*read-only file system`)
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	i.wantTokens(t, "bob", "first", "second")
	i.stop()
	i.wantSound()
}

// damage changes one octet of a file, in the middle of a text in it.
func damage(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text))
	if at < 0 {
		t.Fatalf("%s has no %q", path, text)
	}
	b[at+len(text)/2] ^= 0x20
	if err := os.WriteFile(path, b, 0o640); err != nil {
		t.Fatal(err)
	}
}

// only is the one file that matches.
func only(t *testing.T, pattern string) string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) != 1 {
		t.Fatalf("%s: got %v, %v; want one file", pattern, all, err)
	}
	return all[0]
}

// wantUnsound sees that the checker finds a file.
func (i *instance) wantUnsound(path string) {
	i.t.Helper()
	if status, out := i.check(); status != 1 || !strings.Contains(out, filepath.Base(path)) {
		i.t.Errorf("posthouse queue check: got status %d, want 1 and %s named:\n%s", status, filepath.Base(path), out)
	}
}

func TestDamagedSegmentCostsOneMessageAlone(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	i.queue.Terminate(t)
	for _, token := range []string{"one", "two-that-is-damaged", "three"} {
		i.deposit(t, string(tokenMessage(token, 1000)), "bob")
	}
	i.smtpd.Terminate(t)
	segment := ""
	segments, err := filepath.Glob(i.spool + "/incoming/*.seg") // more than one where the messages took long
	for _, path := range segments {
		if strings.Contains(readFile(t, path), "two-that-is-damaged") {
			segment = path
		}
	}
	if err != nil || segment == "" {
		t.Fatalf("none of %v has the message, %v", segments, err)
	}
	i.wantSound()
	damage(t, segment, "two-that-is-damaged")
	i.wantUnsound(segment)
	i.restart(&i.queue)
	m := i.queue.Await(t, `level=error event=spool-damaged file=(\S+) offset=\d+ length=\d+ saved=(\S+)`)
	if filepath.Base(m[1]) != filepath.Base(segment) {
		t.Errorf("the log names %s, want %s", m[1], segment)
	}
	saved, err := os.ReadFile(only(t, i.spool+"/corrupt/*"))
	if err != nil || !bytes.Contains(saved, []byte("X-Token: two-that-")) || filepath.Base(m[2]) != filepath.Base(only(t, i.spool+"/corrupt/*")) {
		t.Errorf("corrupt/ holds %.200q, %v; want the damaged message, and the log to name it", saved, err)
	}
	i.wantTokens(t, "bob", "one", "three")
	i.restart(&i.smtpd)
	i.deposit(t, string(tokenMessage("four", 100)), "bob")
	i.wantTokens(t, "bob", "one", "three", "four")
	i.stop()
}

func TestDamagedDeferredFileCostsOneMessageAlone(t *testing.T) {
	t.Parallel()
	i := start(t, options{more: "[queue]\nretry_first = \"1s\"\nretry_max = \"1s\"\n"})
	mtatest.Write(t, i.mailbox("bob"), "a file where the Maildir should be")
	bad := i.deposit(t, string(tokenMessage("to-be-damaged", 1000)), "bob")
	good := i.deposit(t, string(tokenMessage("good", 1000)), "bob")
	for _, id := range []string{bad, good} {
		i.queue.Await(t, `event=deferred id=`+id)
	}
	mtatest.Eventually(t, func() error {
		if list, err := filepath.Glob(i.spool + "/incoming/*"); err != nil || len(list) > 0 {
			return fmt.Errorf("segments %v, %v", list, err)
		}
		return nil
	})
	i.stop()
	path := only(t, i.spool+"/deferred/*/"+bad)
	only(t, i.spool+"/deferred/*/"+good)
	i.wantSound()
	damage(t, path, "to-be-damaged")
	i.wantUnsound(path)
	if err := os.Remove(i.mailbox("bob")); err != nil {
		t.Fatal(err)
	}
	i.startAll()
	i.queue.Await(t, `level=error event=spool-corrupt file=`+path+` saved=`+i.spool+`/corrupt/\S+ err=`)
	if list, err := filepath.Glob(i.spool + "/corrupt/*" + bad + "*"); err != nil || len(list) == 0 {
		t.Errorf("corrupt/: got %v, %v; want the file", list, err)
	}
	i.wantTokens(t, "bob", "good")
	i.deposit(t, string(tokenMessage("new", 100)), "bob")
	i.wantTokens(t, "bob", "good", "new")
	i.stop()
}
