package maildir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func TestMeasureCountsMessagesAlone(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/1.a.h": "1\n", "cur/2.a.h:2,S": "four\n", "cur/3.a.h:2,T": "x\n", "cur/.hidden": "h\n", "tmp/4.a.h": "unfinished\n", "maildirsize": "0S\n"})
	other := mailbox(t, map[string]string{"new/1.b.h": "another's\n"})
	for _, d := range []string{".Junk/new", ".Junk/cur", ".Empty", "cur/folder", "plain/new"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, ".Junk/cur/5.a.h:2,"), "junk\n")
	write(t, filepath.Join(dir, "plain/new/6.a.h"), "no Maildir++ folder\n")
	for from, to := range map[string]string{".Other": other, "cur/7.a.h:2,": filepath.Join(other, "new/1.b.h")} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "cur/0A00000000000AAA.0.h,S=100,W=110:2,"), "what the name says\n")
	if err := os.MkdirAll(filepath.Join(dir, ".Trash/new"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ".Trash/new/8.a.h"), "in the bin\n")
	got, err := maildir.Measure(durable.OS{}, dir)
	want := maildir.Holding{
		All: maildir.Usage{Messages: 6, Octets: 2 + 5 + 2 + 5 + 100 + 11}, Counted: maildir.Usage{Messages: 4, Octets: 2 + 5 + 5 + 100},
		Last: mta.ID("0A00000000000AAA").Time(),
	}
	if err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	got, err = maildir.Measure(durable.OS{}, filepath.Join(dir, "nowhere"))
	if err != nil || got != (maildir.Holding{}) {
		t.Errorf("no Maildir: got %v, %v", got, err)
	}
	// Whoever can write in the mailbox leads nobody out of it.
	if err := os.Symlink(filepath.Join(other, "new"), filepath.Join(dir, ".Empty/new")); err != nil {
		t.Fatal(err)
	}
	if got, err := maildir.Measure(durable.OS{}, dir); err == nil {
		t.Errorf("new/ is a link: got %v, want an error", got)
	}
}
