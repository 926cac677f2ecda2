package maildir_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func openShared(t *testing.T, dir string) (*maildir.Maildrop, error) {
	t.Helper()
	m, err := maildir.OpenAt(t.Context(), dir, maildir.Options{}, true, time.Now())
	if err == nil {
		t.Cleanup(func() { _ = m.Close() })
	}
	return m, err
}

// leases are the lease and whatever else of leases is in the Maildir.
func leases(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, maildir.LeaseFile+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestALeaseKeepsOtherHostsOutUntilItIsOld(t *testing.T) {
	host, err := maildir.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(host, "/")
	for what, c := range map[string]struct {
		text string
		age  time.Duration
		want error
	}{
		"another host's":                  {"elsewhere.test 7\n", 0, maildir.ErrInUse},
		"another host's, not renewed yet": {"elsewhere.test 7\n", maildir.LeaseAge - time.Minute, maildir.ErrInUse},
		"a host's that is just writing":   {"", 0, maildir.ErrInUse},
		"a host's that has ended":         {"elsewhere.test 7\n", maildir.LeaseAge + time.Minute, nil},
		"another host's of this name":     {name + "/another-boot 7\n", 0, maildir.ErrInUse},
		"this host's, before a crash":     {host + " 7\n", 0, nil},
		"nobody's":                        {"", maildir.LeaseAge + time.Minute, nil},
	} {
		t.Run(what, func(t *testing.T) {
			dir := mailbox(t, map[string]string{"new/1.a.h": "x\n"})
			path := filepath.Join(dir, maildir.LeaseFile)
			write(t, path, c.text)
			at := time.Now().Add(-c.age)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
			m, err := openShared(t, dir)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if all := leases(t, dir); len(all) != 1 || all[0] != path {
				t.Errorf("got %v, want the lease alone", all)
			}
			if err != nil {
				return
			}
			shut(t, m)
			if all := leases(t, dir); len(all) != 0 {
				t.Errorf("got %v after the session, want nothing", all)
			}
		})
	}
}

func TestAFilesystemOfThisHostNeedsNoLease(t *testing.T) {
	dir := mailbox(t, nil)
	m := open(t, dir)
	if all := leases(t, dir); len(all) != 0 {
		t.Errorf("got %v, want none", all)
	}
	shut(t, m)
}

func TestASessionWhoseLeaseWasBrokenRemovesNothing(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/1.a.h:2,": "x\n"})
	m, err := openShared(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, maildir.LeaseFile)
	write(t, path+".new", "elsewhere.test 7\n")
	if err := os.Rename(path+".new", path); err != nil { // another host, which has waited long enough
		t.Fatal(err)
	}
	m.Retrieved(0)
	if err := remove(m, 0); !errors.Is(err, maildir.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	shut(t, m)
	if got := files(t, dir); len(got) != 1 || got[0] != "cur/1.a.h:2," {
		t.Errorf("got %v, want the message as it was", got)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "elsewhere.test 7\n" {
		t.Errorf("got %q, %v; want the other host's lease untouched", b, err)
	}
}

func TestASecondSharedSessionIsRefused(t *testing.T) {
	dir := mailbox(t, nil)
	if _, err := openShared(t, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := openShared(t, dir); !errors.Is(err, maildir.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

// Two hosts have found the same old lease, and the other one was quicker: its new lease is not the one that was found old.
func TestANewLeaseIsNotBrokenInPlaceOfTheOldOne(t *testing.T) {
	for name, replaced := range map[string]bool{"the old one": false, "another one by now": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, maildir.LeaseFile)
			write(t, path, "elsewhere.test 7\n")
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if replaced {
				write(t, path+".new", "third.test 8\n")
				if err := os.Rename(path+".new", path); err != nil {
					t.Fatal(err)
				}
			}
			err = maildir.MoveAside(path, path+".aside", f)
			if replaced != errors.Is(err, maildir.ErrInUse) || !replaced && err != nil {
				t.Errorf("got %v, want ErrInUse: %v", err, replaced)
			}
			var want []string
			if replaced {
				want = []string{path}
				if b, err := os.ReadFile(path); err != nil || string(b) != "third.test 8\n" {
					t.Errorf("got %q, %v; want the other host's lease", b, err)
				}
			}
			if got := leases(t, dir); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
