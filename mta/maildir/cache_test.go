package maildir_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// later is when the folders have long been left alone.
func later() time.Time { return time.Now().Add(time.Hour) }

func openLater(t *testing.T, dir string) *maildir.Maildrop {
	t.Helper()
	m, err := maildir.OpenAt(t.Context(), dir, maildir.Options{}, false, later())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func shut(t *testing.T, m *maildir.Maildrop) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// overwrite changes a file in place and leaves its size and time as they were.
func overwrite(t *testing.T, path, content string) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, content)
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if int64(len(content)) != st.Size() {
		t.Fatalf("got %d octets, want %d", len(content), st.Size())
	}
}

// TestASecondSessionReadsNoMessage changes the messages under the cache in a way that nobody does, to see that sizes come
// from it; and then in one that shows as soon as a message is opened.
func TestASecondSessionReadsNoMessage(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "a\nb\nc\n", "cur/2.a.h:2,S": "d\ne\nf\n"})
	want := []string{"1.a.h 9", "2.a.h 9"}
	for session, at := range []time.Time{time.Now(), later(), later()} {
		m, err := maildir.OpenAt(t.Context(), dir, maildir.Options{}, false, at)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, listing(m)); d != "" {
			t.Errorf("session %d (-want +got):\n%s", session+1, d)
		}
		if got := m.Clean(); got != (session == 2) {
			t.Errorf("session %d: clean is %v", session+1, got)
		}
		shut(t, m)
		overwrite(t, filepath.Join(dir, "cur/1.a.h:2,"), "abcdef")
	}
	path := filepath.Join(dir, "cur/1.a.h:2,")
	if err := os.Chtimes(path, time.Now(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	m := openLater(t, dir)
	if f, err := m.Open(0); err == nil {
		_ = f.Close()
		t.Error("a changed message: got it opened, want ErrGone: it is not what the snapshot says")
	}
	if got := content(t, m, 1); got != "d\ne\nf\n" {
		t.Errorf("message 2: got %q", got)
	}
	if d := cmp.Diff([]string{"1.a.h 8", "2.a.h 9"}, listing(reopened(t, m, dir))); d != "" {
		t.Errorf("afterwards (-want +got):\n%s", d)
	}
}

func TestATouchedMessageIsStillTheSame(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,S": "a\nb\nc\n"})
	shut(t, open(t, dir))
	if err := os.Chtimes(filepath.Join(dir, "cur/1.a.h:2,S"), time.Now(), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := content(t, open(t, dir), 0); got != "a\nb\nc\n" {
		t.Errorf("got %q", got)
	}
}

func TestTheCacheFollowsTheMailbox(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/10.a.h:2,S": "a\n", "cur/20.a.h:2,": "b\n", "cur/30.a.h:2,": "c\n"})
	shut(t, open(t, dir))
	shut(t, openLater(t, dir))
	steps := []struct {
		what string
		do   func()
		want []string
	}{
		{"a delivery", func() { write(t, filepath.Join(dir, "new/15.a.h"), "new\n") }, []string{"10.a.h 3", "15.a.h 5", "20.a.h 3", "30.a.h 3"}},
		{"a flag", func() { rename(t, dir, "cur/20.a.h:2,", "cur/20.a.h:2,F") }, []string{"10.a.h 3", "15.a.h 5", "20.a.h 3", "30.a.h 3"}},
		{"a removal", func() { _ = os.Remove(filepath.Join(dir, "cur/10.a.h:2,S")) }, []string{"15.a.h 5", "20.a.h 3", "30.a.h 3"}},
		{"another file of the name", func() {
			write(t, filepath.Join(dir, "tmp/x"), "longer\n\n")
			rename(t, dir, "tmp/x", "cur/30.a.h:2,")
		}, []string{"15.a.h 5", "20.a.h 3", "30.a.h 10"}},
		{"all gone", func() { _ = os.RemoveAll(filepath.Join(dir, "cur")); _ = os.Mkdir(filepath.Join(dir, "cur"), 0o700) }, []string{}},
	}
	for _, s := range steps {
		s.do()
		for range 3 {
			m := openLater(t, dir)
			if d := cmp.Diff(s.want, listing(m)); d != "" {
				t.Errorf("%s (-want +got):\n%s", s.what, d)
			}
			for i := range m.Len() {
				content(t, m, i)
			}
			shut(t, m)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, maildir.CacheFile)); !os.IsNotExist(err) {
		t.Errorf("the cache of an empty mailbox: got %v, want none", err)
	}
}

func TestADamagedCacheIsMadeAnew(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,S": "a\nb\n", "cur/2.a.h:2,": "c\n"})
	path, want := filepath.Join(dir, maildir.CacheFile), []string{"1.a.h 6", "2.a.h 3"}
	shut(t, openLater(t, dir))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0x40
		return b
	}
	for what, b := range map[string][]byte{
		"empty": {}, "zeros": make([]byte, len(good)), "cut": good[:len(good)-7], "longer": append(bytes.Clone(good), 0),
		"another version": flip(10), "a size": flip(len(good) - 50), "a name": flip(len(good) - 6), "the checksum": flip(len(good) - 1),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := openLater(t, dir)
		if d := cmp.Diff(want, listing(m)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		shut(t, m)
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, good) {
			t.Errorf("%s: got %d octets, %v; want the cache as it was", what, len(b), err)
		}
	}
	// What is cut or changed and has the right checksum all the same.
	for n := range len(good) - 4 {
		if _, ok := maildir.DecodeCache(maildir.Seal(bytes.Clone(good[:n]))); ok {
			t.Errorf("the first %d octets of %d are a cache", n, len(good))
		}
	}
	nul := bytes.Clone(good[:len(good)-4])
	nul[len(nul)-len("1.a.h:2,S2.a.h:2,")] = 0
	if _, ok := maildir.DecodeCache(maildir.Seal(nul)); ok {
		t.Error("a name with a NUL is taken")
	}
	// What is no regular file is no cache, and nobody writes through it.
	target := filepath.Join(t.TempDir(), "target")
	for what, prepare := range map[string]func() error{
		"link":   func() error { return os.Symlink(target, path) },
		"folder": func() error { return os.Mkdir(path, 0o700) },
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		m := openLater(t, dir)
		if d := cmp.Diff(want, listing(m)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		shut(t, m)
		if _, err := os.Stat(target); !os.IsNotExist(err) {
			t.Errorf("%s: the target: got %v, want none", what, err)
		}
	}
}

func TestSmallMailboxesWhoseNamesSayAllHaveNoCache(t *testing.T) {
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("cur/%d.a.h,S=2,W=3:2,", i)] = "x\n"
	}
	for _, c := range []struct {
		n    int
		want bool
	}{{10, false}, {300, true}} {
		some := map[string]string{}
		for i := range c.n {
			name := fmt.Sprintf("cur/%d.a.h,S=2,W=3:2,", i)
			some[name] = files[name]
		}
		dir := mailbox(t, some)
		shut(t, open(t, dir))
		if _, err := os.Stat(filepath.Join(dir, maildir.CacheFile)); os.IsNotExist(err) == c.want {
			t.Errorf("%d messages: got %v, want a cache: %v", c.n, err, c.want)
		}
	}
}

func TestAListingThatWasBrokenOffGoesOnWhereItWas(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,": "a\nb\nc\n"})
	shut(t, open(t, dir))
	overwrite(t, filepath.Join(dir, "cur/1.a.h:2,"), "abcdef")
	write(t, filepath.Join(dir, "cur/2.a.h:2,"), "x\n")
	ctx, cancel := ended(t)
	cancel()
	if _, err := maildir.OpenAt(ctx, dir, maildir.Options{}, false, time.Now()); err == nil {
		t.Fatal("got no error, want that of the context")
	}
	if d := cmp.Diff([]string{"1.a.h 9", "2.a.h 3"}, listing(open(t, dir))); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

func FuzzCache(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := maildir.Seal(bytes.Clone(b))
		again, ok := maildir.DecodeCache(sealed)
		if !ok {
			return
		}
		for _, p := range maildir.Paths(sealed) {
			if strings.ContainsAny(p, "/\x00") || p == "" || p[0] == '.' {
				t.Errorf("got the name %q", p)
			}
		}
		if twice, ok := maildir.DecodeCache(again); !ok || !bytes.Equal(twice, again) {
			t.Errorf("got %x and then %x, want the same", again, twice)
		}
	})
}
