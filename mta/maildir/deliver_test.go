package maildir_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

// text is a message to deliver, a piece for each string.
type text []string

func (s text) WriteTo(w io.Writer) (n int64, err error) {
	for _, piece := range s {
		m, err := io.WriteString(w, piece)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// broken is a source that cannot be read to its end.
type broken struct{}

func (broken) WriteTo(w io.Writer) (int64, error) {
	n, _ := io.WriteString(w, "half")
	return int64(n), io.ErrUnexpectedEOF
}

func TestADeliveredFileSaysItsSizes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.example", "bob") // made with all folders above it
	box := maildir.Mailbox{FS: durable.OS{}, Path: dir}
	if box.Exists() {
		t.Error("before the first delivery: got a mailbox")
	}
	for i, src := range []text{{"a\n", "b\n"}, {"a", "\n", "", "b"}, {}, {strings.Repeat("line\n", 100_000)}} {
		unique := maildir.Unique(id, i, "h")
		if err := box.Deliver(unique, src, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		path, err := box.Find(unique)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != strings.Join(src, "") {
			t.Errorf("%d: got %.50q, %v", i, b, err)
		}
		wire, err := dot.WireSize(strings.NewReader(string(b)), make([]byte, 512))
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := maildir.ParseName(filepath.Base(path)); !ok || n.Size != int64(len(b)) || n.Wire != wire || filepath.Dir(path) != filepath.Join(dir, "new") {
			t.Errorf("%d: got %s, want S=%d,W=%d", i, path, len(b), wire)
		}
	}
	if !box.Exists() {
		t.Error("after a delivery: got no mailbox")
	}
}

func TestADeliveryReplacesNothing(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/u,S=4,W=6": "mine"})
	box := maildir.Mailbox{FS: durable.OS{}, Path: dir}
	if err := box.Deliver("u", text{"four"}, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want ErrExist", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "new/u,S=4,W=6")); err != nil || string(b) != "mine" {
		t.Errorf("got %q, %v", b, err)
	}
	if names, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(names) > 0 {
		t.Errorf("tmp: got %v, %v; want nothing", names, err)
	}
}

func TestWhatACrashLeftInTmpIsNoObstacle(t *testing.T) {
	dir := mailbox(t, map[string]string{"tmp/u": "a longer half of an old message"})
	box := maildir.Mailbox{FS: durable.OS{}, Path: dir}
	if err := box.Deliver("u", text{"new\n"}, true); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "new/u,S=4,W=5")); err != nil || string(b) != "new\n" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestADeliveryThatFailsLeavesNothing(t *testing.T) {
	box := maildir.Mailbox{FS: durable.OS{}, Path: mailbox(t, nil)}
	if err := box.Deliver("u", broken{}, true); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	for _, d := range []string{"tmp", "new"} {
		if names, err := os.ReadDir(filepath.Join(box.Path, d)); err != nil || len(names) > 0 {
			t.Errorf("%s: got %v, %v; want nothing", d, names, err)
		}
	}
	disk := simdisk.New("mail")
	box = maildir.Mailbox{FS: disk.Process("p"), Path: "/mail/bob"}
	if err := box.Make(); err != nil {
		t.Fatal(err)
	}
	first := disk.Ops()
	if err := box.Deliver("probe", text{"x\n"}, true); err != nil {
		t.Fatal(err)
	}
	for n := range disk.Ops() - first {
		at, op := disk.Ops()+1+n, ""
		disk.Hook = func(o simdisk.Op) error {
			if o.Seq == at {
				op = o.Name
				return syscall.EIO
			}
			return nil
		}
		err := box.Deliver(maildir.Unique(id, n, "h"), text{"x\n"}, true)
		disk.Hook = nil
		path, ferr := box.Find(maildir.Unique(id, n, "h"))
		if ferr != nil || err == nil || (path != "") != errors.Is(err, maildir.ErrUnsynced) {
			t.Errorf("EIO of %s: got %v, and the file at %q (%v)", op, err, path, ferr)
		}
		if names, _ := box.FS.ReadDir("/mail/bob/tmp"); len(names) > 0 {
			t.Errorf("EIO of %s: tmp/ has %v", op, names)
		}
	}
}

// A mailbox begins with a message, or another delivery has made it meanwhile; what fails is said.
func TestAMailboxBeginsWithAMessageOrIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		there bool
		fails string // an operation on new/
		want  string // what is in new/
	}{
		"not there":        {false, "", "u,S=2,W=3"},
		"there":            {true, "", ""},
		"no rename to new": {false, "rename", ""},
	} {
		disk := simdisk.New("mail")
		box := maildir.Mailbox{FS: disk.Process("p"), Path: "/mail/bob"}
		if c.there {
			if err := box.Make(); err != nil {
				t.Fatal(err)
			}
		}
		disk.Hook = func(o simdisk.Op) error {
			if o.Name == c.fails && o.Path == "/mail/bob/new" {
				return syscall.EIO
			}
			return nil
		}
		err := box.MakeWith("u", text{"x\n"})
		if c.fails != "" && !errors.Is(err, syscall.EIO) || c.fails == "" && err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		names, _ := box.FS.ReadDir("/mail/bob/new")
		if got := strings.Join(names, " "); got != c.want || box.Exists() != (c.fails == "") {
			t.Errorf("%s: new/ has %q, want %q; there: %v", name, got, c.want, box.Exists())
		}
	}
}

func TestFindKnowsAFileByItsUniquePartAlone(t *testing.T) {
	dir := mailbox(t, map[string]string{"new/a.1.h,S=1,W=1": "", "cur/a.2.h:2,S": "", "cur/a.3.h": "", "new/a.33.h": "", "tmp/a.4.h": "", "new/.a.5.h": ""})
	box := maildir.Mailbox{FS: durable.OS{}, Path: dir}
	for unique, want := range map[string]string{
		"a.1.h": "new/a.1.h,S=1,W=1", "a.2.h": "cur/a.2.h:2,S", "a.3.h": "cur/a.3.h", "a.33.h": "new/a.33.h", "a.4.h": "", "a.5.h": "", "a": "", "a.1": "", "a.3": "",
	} {
		if want != "" {
			want = filepath.Join(dir, want)
		}
		if got, err := box.Find(unique); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", unique, got, err, want)
		}
	}
	none := maildir.Mailbox{FS: durable.OS{}, Path: filepath.Join(dir, "none")}
	if got, err := none.Find("a.1.h"); err != nil || got != "" {
		t.Errorf("no mailbox: got %q, %v", got, err)
	}
}

func TestReplaceKeepsTheName(t *testing.T) {
	dir := mailbox(t, map[string]string{"cur/u,S=6,W=8:2,S": "tw"})
	box := maildir.Mailbox{FS: durable.OS{}, Path: dir}
	path := filepath.Join(dir, "cur/u,S=6,W=8:2,S")
	if err := box.Replace(path, "u", text{"two\nx\n"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "two\nx\n" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := box.Replace(path, "u", broken{}); err == nil {
		t.Error("a source that fails: got no error")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "two\nx\n" {
		t.Errorf("after a failed one: got %q, %v", b, err)
	}
}
