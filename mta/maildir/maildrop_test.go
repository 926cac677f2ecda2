package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// mailbox makes a Maildir with the given files: path below it, and content.
func mailbox(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"tmp", "new", "cur"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *maildir.Maildrop {
	t.Helper()
	m, err := maildir.OpenMaildrop(context.Background(), dir, maildir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// listing is each message as "unique size".
func listing(m *maildir.Maildrop) []string {
	all := []string{}
	for i := range m.Len() {
		all = append(all, fmt.Sprintf("%s %d", m.Unique(i), m.Size(i)))
	}
	return all
}

func content(t *testing.T, m *maildir.Maildrop, i int) string {
	t.Helper()
	r, err := m.Open(i)
	if err != nil {
		t.Fatalf("open message %d: %v", i, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read message %d: %v", i, err)
	}
	return string(b)
}

func TestAnAbsentMaildirReadsAsEmpty(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "nobody"))
	if m.Len() != 0 {
		t.Errorf("got %d messages, want 0", m.Len())
	}
}

func TestAMaildirWithoutFoldersReadsAsEmpty(t *testing.T) {
	if m := open(t, t.TempDir()); m.Len() != 0 {
		t.Errorf("got %d messages, want 0", m.Len())
	}
}

func TestAFolderThatIsMissingIsMade(t *testing.T) {
	for _, folder := range []string{"new", "cur"} {
		dir := mailbox(t, map[string]string{"new/1.a.h": "x\n", "cur/2.a.h:2,": "y\n"})
		if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
			t.Fatal(err)
		}
		if m := open(t, dir); m.Len() != 1 {
			t.Errorf("without %s: got %d messages, want 1", folder, m.Len())
		}
	}
}

func TestSnapshotShowsEachMessageOnceInOrderOfArrival(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"by time across folders, not by name", map[string]string{"cur/200.a.h:2,S": "b\n", "new/1000.a.h": "c\n", "cur/30.a.h:2,": "a\n"},
			[]string{"30.a.h 3", "200.a.h 3", "1000.a.h 3"}},
		{"by name within a second", map[string]string{"new/9.b.h": "", "cur/9.a.h:2,": "", "new/9.c.h": ""}, []string{"9.a.h 0", "9.b.h 0", "9.c.h 0"}},
		{"names without an info part in cur", map[string]string{"cur/1.a.h": "x\n", "cur/2.a.h:1,odd": "x\n", "cur/3.a.h:2": "x\n"},
			[]string{"1.a.h 3", "2.a.h 3", "3.a.h 3"}},
		{"sizes of the name", map[string]string{"new/1.a.h,S=4,W=6": "a\nb\n"}, []string{"1.a.h 6"}},
		// A wire size that the file cannot have is a lie.
		{"impossible wire sizes", map[string]string{"new/1.a.h,S=4,W=3": "a\nb\n", "new/2.a.h,S=4,W=11": "a\nb\n", "new/3.a.h,W=-6": "a\nb\n", "new/4.a.h,W=9999999999999999999999": "a\nb\n"},
			[]string{"1.a.h 6", "2.a.h 6", "3.a.h 6", "4.a.h 6"}},
		{"no wire size: the last line is ended", map[string]string{"new/1.a.h": "a\nb"}, []string{"1.a.h 6"}},
		{"no wire size: CR LF stays", map[string]string{"new/1.a.h": "a\r\nb\r\n"}, []string{"1.a.h 6"}},
		{"a delivery of ours cut short", map[string]string{"new/" + string(id) + ".0.h,S=5,W=6": "a\n", "cur/" + string(id.Child('F', 1)) + ".0.h,S=1,W=2:2,": "", "new/2.a.h": "x\n"}, []string{"2.a.h 3"}},
		// Somebody has written to it since: that hides nothing, and its sizes are those of the file.
		{"sizes that are not true any more", map[string]string{"new/1.a.h,S=5,W=6": "a\nb\n", "cur/2.a.h,S=1,W=5:2,": "x\ny\n", "cur/" + string(id) + ".3.h,S=3,W=4:2,": "a\nb\n"},
			[]string{"1.a.h 6", "2.a.h 6", string(id) + ".3.h 6"}},
		{"dot files and an empty unique part", map[string]string{"new/.hidden": "x", "cur/,S=1": "x", "new/.nfs0001": "x"}, []string{}},
		{"what is in tmp", map[string]string{"tmp/1.a.h": "x"}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := listing(open(t, mailbox(t, c.files)))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("messages (-want +got):\n%s", d)
			}
		})
	}
}

func TestADeliveryThatNobodyCompletesIsShownInTheEnd(t *testing.T) {
	unique := string(id) + ".0.h"
	dir := mailbox(t, map[string]string{"new/" + unique + ",S=50,W=60": "a\n"})
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{{60 * 24 * time.Hour, []string{}}, {62 * 24 * time.Hour, []string{unique + " 3"}}} {
		m, err := maildir.OpenAt(t.Context(), dir, maildir.Options{}, false, time.Now().Add(c.after))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, listing(m)); d != "" {
			t.Errorf("after %v: messages (-want +got):\n%s", c.after, d)
		}
		shut(t, m)
	}
}

func TestLinksFIFOsAndFoldersAreNotShown(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "x\n"})
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "secret\n")
	if err := os.Symlink(secret, filepath.Join(dir, "new", "2.a.h")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "cur", "3.a.h:2,")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "new", "4.a.h"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cur", "5.a.h:2,"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Names that give a link's own size, so that nobody need open it.
	if err := os.Symlink("nowhere", filepath.Join(dir, "cur", "6.a.h,S=7,W=8:2,")); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1.a.h 3"}, listing(open(t, dir))); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

// TestAFileThatCannotBeReadHidesNoOther runs itself as somebody who is not root, for root reads all.
func TestAFileThatCannotBeReadHidesNoOther(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t)
		return
	}
	dir := mailbox(t, map[string]string{"new/1.a.h": "one\n", "new/2.a.h": "two\n", "new/3.a.h,S=6,W=7": "three\n"})
	mode := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	look := func(unreadable int, want ...string) {
		t.Helper()
		m, err := maildir.OpenAt(t.Context(), dir, maildir.Options{}, false, time.Now().Add(time.Hour)) // the folders are settled
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, listing(m)); d != "" {
			t.Errorf("messages (-want +got):\n%s", d)
		}
		if n, err := m.Unreadable(); n != unreadable || (err != nil) != (n > 0) {
			t.Errorf("got %d unreadable, %v; want %d", n, err, unreadable)
		}
		shut(t, m)
	}
	mode("new/2.a.h", 0)
	look(1, "1.a.h 5", "3.a.h 7")
	look(1, "1.a.h 5", "3.a.h 7")
	mode("cur/2.a.h:2,", 0o600)
	look(0, "1.a.h 5", "2.a.h 5", "3.a.h 7")

	// Where nothing can be read the mailbox is not empty, but shut.
	dir = mailbox(t, map[string]string{"new/1.a.h": "one\n"})
	mode("new/1.a.h", 0)
	if _, err := maildir.OpenMaildrop(t.Context(), dir, maildir.Options{}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v, want a lack of permission", err)
	}
}

// asNobody runs the test that calls it in a process of somebody who is not root.
func asNobody(t *testing.T) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "maildir") // t.TempDir's parent is not for others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(binary, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAFolderThatIsALinkIsAnError(t *testing.T) {
	dir := mailbox(t, nil)
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if _, err := maildir.OpenMaildrop(context.Background(), dir, maildir.Options{}); err == nil {
		t.Error("got no error, want one")
	}
	// The failed session has given the mailbox back.
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestTheSecondSessionIsRefusedUntilTheFirstEnds(t *testing.T) {
	dir := mailbox(t, nil)
	first := open(t, dir)
	if _, err := maildir.OpenMaildrop(context.Background(), dir, maildir.Options{}); !errors.Is(err, maildir.ErrInUse) {
		t.Fatalf("second session: got %v, want ErrInUse", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestALockFileThatIsALinkOrAFIFOIsRefused(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	for name, prepare := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink(target, path) },
		"fifo": func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := mailbox(t, nil)
			if err := prepare(filepath.Join(dir, maildir.LockFile)); err != nil {
				t.Fatal(err)
			}
			if m, err := maildir.OpenMaildrop(context.Background(), dir, maildir.Options{}); err == nil {
				_ = m.Close()
				t.Error("got no error, want one")
			}
			if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the link's target: got %v, want it not to exist", err)
			}
		})
	}
}

func TestAMessageSeenInBothFoldersIsOne(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "x\n"})
	if err := os.Link(filepath.Join(dir, "new/1.a.h"), filepath.Join(dir, "cur/1.a.h:2,S")); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir)
	if d := cmp.Diff([]string{"1.a.h 3"}, listing(m)); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	if m.Twin(0) {
		t.Error("got a twin, want one message alone")
	}
}

func TestTwoMessagesWithOneUniquePartAreToldApart(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,S": "one\n", "cur/1.a.h,S=5:2,": "two..\n"[:5]})
	m := open(t, dir)
	if m.Len() != 2 {
		t.Fatalf("got %d messages, want 2", m.Len())
	}
	if !m.Twin(0) || !m.Twin(1) {
		t.Errorf("twins: got %v and %v, want both to be", m.Twin(0), m.Twin(1))
	}
	before := []string{content(t, m, 0), content(t, m, 1)}
	// Both get other names; each stays what it was.
	rename(t, dir, "cur/1.a.h:2,S", "cur/1.a.h:2,RS")
	rename(t, dir, "cur/1.a.h,S=5:2,", "cur/1.a.h,S=5:2,S")
	if d := cmp.Diff(before, []string{content(t, m, 0), content(t, m, 1)}); d != "" {
		t.Errorf("contents after the renames (-before +after):\n%s", d)
	}
}

func TestARenamedMessageIsFoundAgain(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "one\n", "cur/2.a.h,S=4,W=5:2,": "two\n", "new/3.a.h": "three\n"})
	m := open(t, dir)
	rename(t, dir, "cur/1.a.h:2,", "cur/1.a.h:2,S")
	rename(t, dir, "cur/2.a.h,S=4,W=5:2,", "cur/2.a.h,S=4,W=5:2,FS")
	for i, want := range []string{"one\n", "two\n", "three\n"} {
		if got := content(t, m, i); got != want {
			t.Errorf("message %d: got %q, want %q", i, got, want)
		}
	}
	rename(t, dir, "cur/1.a.h:2,S", "cur/1.a.h:2,RS")
	if err := remove(m, 0); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"2.a.h 5", "3.a.h 7"}, listing(reopened(t, m, dir))); d != "" {
		t.Errorf("messages after the removal (-want +got):\n%s", d)
	}
}

func reopened(t *testing.T, m *maildir.Maildrop, dir string) *maildir.Maildrop {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func TestAVanishedMessageIsGoneAndNeverAnother(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "one\n", "new/2.a.h": "two\n", "new/3.a.h": "tre\n", "new/4.a.h": "for\n", "new/5.a.h": "fiv\n"})
	m := open(t, dir)
	// 1 is removed; 2 is replaced by another file of its name and size; 3 has grown; 4 is a link now.
	if err := os.Remove(filepath.Join(dir, "cur/1.a.h:2,")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tmp/x"), "TWO\n")
	rename(t, dir, "tmp/x", "cur/2.a.h:2,")
	write(t, filepath.Join(dir, "cur/3.a.h:2,"), "longer\n")
	rename(t, dir, "cur/4.a.h:2,", "tmp/4")
	if err := os.Symlink("../tmp/4", filepath.Join(dir, "cur/4.a.h:2,")); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		r, err := m.Open(i)
		if !errors.Is(err, maildir.ErrGone) {
			t.Errorf("message %d: got %v, want ErrGone", i+1, err)
		}
		if err == nil {
			_ = r.Close()
		}
	}
	if got := content(t, m, 4); got != "fiv\n" {
		t.Errorf("message 5: got %q, want its content", got)
	}
	// Removing what is gone succeeds, and takes nothing that came in its place.
	for _, i := range []int{0, 1, 3} {
		if err := remove(m, i); err != nil {
			t.Errorf("remove message %d: %v", i+1, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "cur/2.a.h:2,"))
	if err != nil || string(b) != "TWO\n" {
		t.Errorf("the other file: got %q, %v; want it untouched", b, err)
	}
}

func TestAMessageCutShortWhileItIsReadEndsInAnError(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": strings.Repeat("x", 1000) + "\n"})
	m := open(t, dir)
	r, err := m.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(filepath.Join(dir, "cur/1.a.h:2,"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestWhatIsAppendedWhileAMessageIsReadIsNotRead(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "one\n"})
	m := open(t, dir)
	r, err := m.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write(t, filepath.Join(dir, "cur/1.a.h:2,"), "one\nmore\n")
	b, err := io.ReadAll(r)
	if err != nil || string(b) != "one\n" {
		t.Errorf("got %q, %v; want %q", b, err, "one\n")
	}
}

func TestRemoveReportsWhatItCannotRemove(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "one\n", "new/2.a.h": "two\n"})
	m := open(t, dir)
	// An error, and not a message that is gone.
	restore := immutable(t, filepath.Join(dir, "cur"))
	err := remove(m, 0)
	restore()
	if err == nil {
		t.Error("got no error, want one")
	}
	if err := remove(m, 1); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if d := cmp.Diff([]string{"1.a.h 5"}, listing(reopened(t, m, dir))); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

// immutable keeps files in a folder from being removed, by root too, until the function that it returns is called.
func immutable(t *testing.T, dir string) func() {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const flagImmutable = 0x10 // FS_IMMUTABLE_FL
	before, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(before|flagImmutable))
	}
	if err != nil {
		t.Skipf("no immutable folders here: %v", err)
	}
	return func() {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(before)); err != nil {
			t.Fatal(err)
		}
	}
}

// remove removes one message.
func remove(m *maildir.Maildrop, i int) (failed error) {
	lasting := m.Remove([]int{i}, func(_ int, err error) { failed = err })
	return errors.Join(failed, lasting)
}

func TestNamesOfThePastTakeLittleRoom(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,": "one\n", "cur/2.a.h:2,": "two\n"})
	m, had := open(t, dir), "cur/1.a.h:2,"
	for k := range 1000 {
		name := fmt.Sprintf("cur/1.a.h:2,%d", k)
		rename(t, dir, had, name)
		if got := content(t, m, 0) + content(t, m, 1); got != "one\ntwo\n" {
			t.Fatalf("as %s: got %q", name, got)
		}
		had = name
	}
	if got := m.NameOctets(); got > 200 {
		t.Errorf("got %d octets of names, want not many more than those of two", got)
	}
}

func TestAnEndedContextEndsTheListing(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "one\n"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := maildir.OpenMaildrop(ctx, dir, maildir.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	open(t, dir)
}

func TestAThousandRenamedMessagesAreAllFound(t *testing.T) {
	files := map[string]string{}
	for i := range 1000 {
		files[fmt.Sprintf("new/%d.a.h", i)] = fmt.Sprintf("%d\n", i)
	}
	dir := mailbox(t, files)
	m := open(t, dir)
	for i := range 1000 {
		rename(t, dir, fmt.Sprintf("cur/%d.a.h:2,", i), fmt.Sprintf("cur/%d.a.h:2,S", i))
	}
	for i := range 1000 {
		if got, want := content(t, m, i), fmt.Sprintf("%d\n", i); got != want {
			t.Fatalf("message %d: got %q, want %q", i, got, want)
		}
	}
}
