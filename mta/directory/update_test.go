package directory_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

const before = "# the staff\n\nalice@example.org   {PLAIN}a\tdisabled=no # not a comment here\n" +
	"colour red\n  bob@example.org {PLAIN}b {PLAIN}bb forward=alice@example.org quota=0\n\t# end"

func update(t *testing.T, path string, change func(*directory.Lines) error) error {
	t.Helper()
	return directory.Update(t.Context(), path, change)
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUpdateLeavesTheOtherLinesByteForByte(t *testing.T) {
	carol, bob := address(t, "carol@example.org"), address(t, "BOB@example.org")
	for _, c := range []struct {
		name   string
		change func(*directory.Lines) error
		want   string
	}{
		{"nothing", func(*directory.Lines) error { return nil }, before},
		{"add", func(l *directory.Lines) error { return l.Add(carol, "{PLAIN}c") }, before + "\ncarol@example.org {PLAIN}c\n"},
		{"password", func(l *directory.Lines) error { return l.SetVerifiers(bob, "{PLAIN}new") },
			strings.Replace(before, "  bob@example.org {PLAIN}b {PLAIN}bb forward", "bob@example.org {PLAIN}new forward", 1)},
		{"remove", func(l *directory.Lines) error { return l.Remove(bob) },
			strings.Replace(before, "  bob@example.org {PLAIN}b {PLAIN}bb forward=alice@example.org quota=0\n", "", 1)},
	} {
		path := usersFile(t, before)
		if err := update(t, path, c.change); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := content(t, path); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestUpdateThatFailsLeavesTheFileAndNothingBeside(t *testing.T) {
	path := usersFile(t, before)
	alice, bob, dora := address(t, "alice@example.org"), address(t, "bob@example.org"), address(t, "dora@example.org")
	mine := errors.New("mine")
	for _, c := range []struct {
		name   string
		change func(*directory.Lines) error
		want   error
	}{
		{"add a user who is there", func(l *directory.Lines) error { return l.Add(bob, "{PLAIN}x") }, directory.ErrExists},
		{"password of nobody", func(l *directory.Lines) error { return l.SetVerifiers(dora, "{PLAIN}x") }, directory.ErrUnknown},
		{"remove nobody", func(l *directory.Lines) error { return l.Remove(dora) }, directory.ErrUnknown},
		{"a line with a fault of its own", func(l *directory.Lines) error { return l.SetVerifiers(alice, "{PLAIN}x") }, nil},
		{"a verifier that would be another line", func(l *directory.Lines) error { return l.Add(dora, "{PLAIN}x\nroot@example.org {PLAIN}x") }, nil},
		{"a user who would be a comment", func(l *directory.Lines) error { return l.Add(address(t, "#dora@example.org"), "{PLAIN}x") }, nil},
		{"a change and then an error", func(l *directory.Lines) error { return errors.Join(l.Remove(bob), mine) }, mine},
	} {
		err := update(t, path, c.change)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got error %v, want %v", c.name, err, c.want)
		}
		if got := content(t, path); got != before {
			t.Errorf("%s: the file changed:\n%s", c.name, got)
		}
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 1 {
		t.Errorf("got %v beside the file, error %v; want nothing", names, err)
	}
}

func TestUpdateMakesTheFileAndSetsItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	add := func(who, where string) {
		t.Helper()
		if err := update(t, where, func(l *directory.Lines) error { return l.Add(address(t, who), "{PLAIN}x") }); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != 0o640 {
			t.Errorf("got mode %v, error %v; want 0640", st.Mode(), err)
		}
	}
	add("alice@example.org", path)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	add("bob@example.org", link)
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, error %v", st.Mode(), err)
	}
	if got, want := content(t, path), "alice@example.org {PLAIN}x\nbob@example.org {PLAIN}x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUpdateKeepsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := usersFile(t, before)
	if err := os.Chown(path, 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := update(t, path, func(l *directory.Lines) error { return l.Remove(address(t, "bob@example.org")) }); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != 12 || sys.Gid != 34 {
		t.Errorf("got owner %d:%d, want 12:34", sys.Uid, sys.Gid)
	}
}

func TestUpdatesAtOnceLoseNothing(t *testing.T) {
	path := usersFile(t, "# users\n")
	var all sync.WaitGroup
	const n = 40
	for i := range n {
		all.Go(func() {
			err := update(t, path, func(l *directory.Lines) error {
				return l.Add(address(t, fmt.Sprintf("u%d@example.org", i)), "{PLAIN}x")
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := open(t, path, directory.Options{}).Users(); got != n {
		t.Errorf("got %d users, want %d", got, n)
	}
}

func TestAHostWithoutUsersNeedsNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if _, err := directory.Open(path, directory.Options{}); err == nil {
		t.Error("an absent file was opened")
	}
	now := time.Now()
	f, err := directory.Open(path, directory.Options{MayBeAbsent: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	a := mta.Address{Local: "a", Domain: "x.test"}
	if _, err := f.Lookup(t.Context(), a); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("got %v, want %v", err, directory.ErrUnknown)
	}
	if err := os.WriteFile(path, []byte("a@x.test {PLAIN}x\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if _, err := f.Lookup(t.Context(), a); err != nil {
		t.Errorf("got %v when the file had come", err)
	}
}

// TestAUsersFileThatIsBeingWrittenWaits: half a file has no fault, and lacks users.
func TestAUsersFileThatIsBeingWrittenWaits(t *testing.T) {
	const young, old = 900 * time.Millisecond, time.Second
	for _, c := range []struct {
		what   string
		rename bool
		age    time.Duration
		there  bool // alice is, still
	}{
		{"emptied", false, young, true},
		{"emptied, and left so", false, old, false},
		{"renamed into its place", true, young, false},
	} {
		path := usersFile(t, "alice@example.org {PLAIN}a\n")
		now := time.Now().Add(-time.Hour)
		f := open(t, path, directory.Options{Now: func() time.Time { return now }})
		if c.rename { // the inode changes once more after the content
			whole := usersFile(t, "")
			if err := errors.Join(os.Chtimes(whole, time.Now(), time.Now().Add(-time.Millisecond)), os.Rename(whole, path)); err != nil {
				t.Fatal(err)
			}
		} else {
			rewrite(t, path, "")
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		now = st.ModTime().Add(c.age)
		if _, err := f.Lookup(t.Context(), address(t, "alice@example.org")); (err == nil) != c.there {
			t.Errorf("%s: got %v, want alice there: %v", c.what, err, c.there)
		}
	}
}
