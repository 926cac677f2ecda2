package maildir_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

func TestExpireRemovesOldMessagesAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".Junk")
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for _, f := range []string{"new/a", "cur/b:2,S", "cur/.hidden", "tmp/c", "dovecot-uidlist"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "cur/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cur/folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The modification time is the delivery's, and says nothing of when the message came here.
	if err := os.Chtimes(filepath.Join(dir, "new/a"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 2}, {time.Now().Add(time.Hour), 0}} {
		if n, counted, err := maildir.Expire(dir, c.before); err != nil || n != c.want || counted.Messages != int64(c.want) {
			t.Errorf("before %v: got %d, %v, want %d", c.before, n, err, c.want)
		}
	}
	for _, f := range []string{"cur/.hidden", "cur/link", "cur/folder", "tmp/c", "dovecot-uidlist"} {
		if _, err := os.Lstat(filepath.Join(dir, f)); err != nil {
			t.Errorf("%v: want it kept", err)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if n, _, err := maildir.Expire(filepath.Join(dir, "absent"), time.Now()); n != 0 || err != nil {
		t.Errorf("absent: got %d, %v, want nothing", n, err)
	}
	// A folder that is a link is another one, or the inbox itself.
	write(t, filepath.Join(dir, "cur/old:2,S"), "")
	trash := filepath.Join(t.TempDir(), ".Trash")
	if err := os.Symlink(dir, trash); err != nil {
		t.Fatal(err)
	}
	if n, _, err := maildir.Expire(trash, time.Now().Add(time.Hour)); n != 0 || err == nil {
		t.Errorf("a link to a folder: got %d, %v, want an error", n, err)
	}
	linked := filepath.Join(t.TempDir(), ".Trash")
	if err := os.Mkdir(linked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "tmp"), filepath.Join(linked, "cur")); err != nil {
		t.Fatal(err)
	}
	if n, _, err := maildir.Expire(linked, time.Now().Add(time.Hour)); n != 0 || err == nil {
		t.Errorf("a linked folder: got %d, %v, want an error", n, err)
	}
}
