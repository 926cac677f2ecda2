package maildir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func ended(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// files are the names in new/ and cur/.
func files(t *testing.T, dir string) []string {
	t.Helper()
	all := []string{}
	for _, d := range []string{"new", "cur"} {
		list, err := os.ReadDir(filepath.Join(dir, d))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			all = append(all, d+"/"+e.Name())
		}
	}
	slices.Sort(all)
	return all
}

func TestNewMessagesMoveToCurAtLogin(t *testing.T) {
	dir := mailbox(t, map[string]string{
		"new/1.a.h": "x\n", "new/2.a.h,S=2,W=3": "y\n", "new/3.a.h:2,F": "z\n", "cur/4.a.h:2,S": "w\n", "new/" + string(id) + ".5.h,S=9": "cut\n", "new/.hidden": "h\n",
		"new/6.a.h": "mine\n", "cur/6.a.h:2,": "there\n", // its place is taken
	})
	m := open(t, dir)
	if d := cmp.Diff([]string{"1.a.h 3", "2.a.h 3", "3.a.h 3", "4.a.h 3", "6.a.h 6", "6.a.h 7"}, sorted(listing(m))); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	want := []string{"cur/1.a.h:2,", "cur/2.a.h,S=2,W=3:2,", "cur/3.a.h:2,F", "cur/4.a.h:2,S", "cur/6.a.h:2,", "new/.hidden", "new/" + string(id) + ".5.h,S=9", "new/6.a.h"}
	if d := cmp.Diff(want, files(t, dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func TestRetrievedMessagesGetTheFlagSAtTheEnd(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "x\n", "cur/2.a.h:2,FT": "y\n", "cur/3.a.h:2,S": "z\n", "cur/4.a.h:2,": "w\n", "cur/5.a.h:2,R": "v\n", "cur/6.a.h:1,odd": "u\n"})
	m := open(t, dir)
	for _, i := range []int{0, 1, 2, 4, 5} {
		m.Retrieved(i)
	}
	rename(t, dir, "cur/5.a.h:2,R", "cur/5.a.h:2,RT") // another program, meanwhile
	if err := remove(m, 0); err != nil {
		t.Fatal(err)
	}
	before := []string{"cur/2.a.h:2,FT", "cur/3.a.h:2,S", "cur/4.a.h:2,", "cur/5.a.h:2,RT", "cur/6.a.h:1,odd"}
	if d := cmp.Diff(before, files(t, dir)); d != "" {
		t.Errorf("files before the end (-want +got):\n%s", d)
	}
	shut(t, m)
	after := []string{"cur/2.a.h:2,FST", "cur/3.a.h:2,S", "cur/4.a.h:2,", "cur/5.a.h:2,RST", "cur/6.a.h:1,odd"}
	if d := cmp.Diff(after, files(t, dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func TestWithSeen(t *testing.T) {
	for file, want := range map[string]string{
		"1.a.h": "1.a.h:2,S", "1.a.h:2,": "1.a.h:2,S", "1.a.h,S=3:2,RT": "1.a.h,S=3:2,RST", "1.a.h:2,ab": "1.a.h:2,Sab", "1.a.h:2,F,x=y": "1.a.h:2,FS,x=y",
		"1.a.h:2,S": "", "1.a.h:2,FS": "", "1.a.h:1,x": "", "1.a.h:": "", "1.a.h:2": "",
	} {
		if got, ok := maildir.WithSeen(file); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", file, got, ok, want)
		}
	}
}

func TestTheQuotaFileIsToldOfWhatIsRemoved(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h,S=2": "x\n", "cur/2.a.h:2,S": "four\n", "cur/3.a.h:2,T": "uncounted\n", "cur/4.a.h:2,": "gone\n", "cur/5.a.h:2,": "stays\n"})
	quota := filepath.Join(dir, maildir.QuotaFile)
	write(t, quota, "1000S,10C\n200 5\n")
	m := open(t, dir)
	if err := os.Remove(filepath.Join(dir, "cur/4.a.h:2,")); err != nil { // its remover has told already
		t.Fatal(err)
	}
	lasting := m.Remove([]int{0, 1, 2, 3}, func(i int, err error) {
		if err != nil {
			t.Errorf("message %d: %v", i+1, err)
		}
	})
	if lasting != nil {
		t.Error(lasting)
	}
	shut(t, m)
	b, err := os.ReadFile(quota)
	if want := "1000S,10C\n200 5\n-7 -2\n"; err != nil || string(b) != want {
		t.Errorf("got %q, %v; want %q", b, err, want)
	}
	// Nobody has a quota here: no file is made.
	dir = mailbox(t, map[string]string{"new/1.a.h": "x\n"})
	m = open(t, dir)
	if err := remove(m, 0); err != nil {
		t.Fatal(err)
	}
	shut(t, m)
	if _, err := os.Lstat(filepath.Join(dir, maildir.QuotaFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no quota file", err)
	}
}

func TestSessionsKeepApartInTime(t *testing.T) {
	dir := mailbox(t, nil)
	o, now := maildir.Options{MinInterval: time.Minute}, time.Now().Truncate(time.Second)
	for _, c := range []struct {
		after time.Duration
		want  error
	}{{0, nil}, {time.Second, maildir.ErrTooSoon}, {59 * time.Second, maildir.ErrTooSoon}, {60 * time.Second, nil}, {100 * time.Second, maildir.ErrTooSoon},
		{120 * time.Second, nil}, {0, nil}} { // at last the clock was set back: that locks nobody out
		m, err := maildir.OpenAt(t.Context(), dir, o, false, now.Add(c.after))
		if !errors.Is(err, c.want) {
			t.Errorf("after %v: got %v, want %v", c.after, err, c.want)
		}
		if err == nil {
			shut(t, m)
		}
	}
	write(t, filepath.Join(dir, maildir.LockFile), "no time\n")
	shut(t, func() *maildir.Maildrop {
		m, err := maildir.OpenAt(t.Context(), dir, o, false, now)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}())
}
