package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

const id mta.ID = "0A00000000000AAA"

const (
	box  = "/mail/bob"
	head = "Return-Path: <a@x>\nDelivered-To: bob@x\n"
)

// request is a message for bob.
func request(content string) local.Request {
	return local.Request{
		Mailbox: box, ID: id, Index: 1, ReturnPath: mta.Address{Local: "a", Domain: "x"}, DeliveredTo: mta.Address{Local: "bob", Domain: "x"},
		Envelope: &mta.Envelope{Size: int64(len(content))}, Content: strings.NewReader(content),
	}
}

// post is a machine with a deliverer.
type post struct {
	t    *testing.T
	disk *simdisk.Disk
	d    local.Deliverer
}

func newPost(t *testing.T) *post {
	disk := simdisk.New("mail")
	return &post{t, disk, local.Deliverer{FS: disk.Process("runner"), Host: "h.x", Sync: local.SyncAuto}}
}

func (p *post) deliver(r local.Request) mta.Outcome {
	p.t.Helper()
	o, _ := p.d.Deliver(p.t.Context(), r)
	return o
}

func (p *post) mustDeliver(r local.Request) {
	p.t.Helper()
	if o := p.deliver(r); o.Status != mta.Delivered {
		p.t.Fatalf("got %+v, want it delivered", o)
	}
}

// files returns path and content of all files below a folder.
func files(t *testing.T, fsys durable.FS, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		st, err := fsys.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.IsDir() {
			for k, v := range files(t, fsys, path) {
				out[k] = v
			}
			continue
		}
		f, err := fsys.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, st.Size())
		if n, err := f.ReadAt(b, 0); n < len(b) {
			t.Fatal(err)
		}
		_ = f.Close()
		out[path] = string(b)
	}
	return out
}

// only returns the one file below a mailbox, and where it is.
func (p *post) only(dir string) (path, content string) {
	p.t.Helper()
	all := files(p.t, p.disk.Process("look"), dir)
	if len(all) != 1 {
		p.t.Fatalf("got %v, want one file", all)
	}
	for path, content = range all {
	}
	return path, content
}

func (p *post) write(path, content string) {
	p.t.Helper()
	f, err := p.disk.Process("hand").OpenWrite(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = p.disk.Process("hand").Create(path, 0o640)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(content), 0)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// moved renames a file.
func (p *post) moved(from, to string) string {
	p.t.Helper()
	if err := p.disk.Process("reader").Rename(from, to); err != nil {
		p.t.Fatal(err)
	}
	return to
}

func TestWhatStandsInTheMailbox(t *testing.T) {
	long := strings.Repeat("0123456789\r\n", 30_000)
	atEdges := strings.Repeat("x", 64<<10-len(head)-1) + "\r\n" + strings.Repeat("y", 32<<10-1) + "\r\nz\r\n"
	for name, c := range map[string]struct{ in, want string }{
		"usual":               {"Subject: x\r\n\r\ntext\r\n", "Subject: x\n\ntext\n"},
		"empty":               {"", ""},
		"empty body":          {"Subject: x\r\n\r\n", "Subject: x\n\n"},
		"no header":           {"\r\ntext\r\n", "\ntext\n"},
		"dots":                {".\r\n..\r\n.x\r\n", ".\n..\n.x\n"},
		"From line":           {"From x\r\n", "From x\n"},
		"8-bit":               {"\xff\x00\xe9\r\n", "\xff\x00\xe9\n"},
		"no last newline":     {"text", "text"},
		"bare CR":             {"a\rb\r\n", "a\rb\n"},
		"bare CR at the end":  {"a\r", "a\r"},
		"bare LF":             {"a\nb\n", "a\nb\n"},
		"line end on an edge": {atEdges, strings.ReplaceAll(atEdges, "\r\n", "\n")},
		"long":                {long, strings.ReplaceAll(long, "\r\n", "\n")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t)
			p.mustDeliver(request(c.in))
			path, got := p.only(box)
			if got != head+c.want {
				t.Errorf("got %d octets %.100q, want %d %.100q", len(got), got, len(head+c.want), head+c.want)
			}
			wire, err := dot.WireSize(strings.NewReader(got), make([]byte, 512))
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%s/new/%s.1.h.x,S=%d,W=%d", box, id, len(got), wire)
			if path != want {
				t.Errorf("got the name %s, want %s", path, want)
			}
		})
	}
}

func TestTheRenderedMessageIsDelivered(t *testing.T) {
	p := newPost(t)
	r := request("Bcc: secret@x\r\nSubject: x\r\n\r\ntext\r\n")
	r.Envelope.Prepend = "Received: y\r\n"
	r.Envelope.Cut = []mta.Range{{Off: 0, Len: 15}}
	r.ReturnPath = mta.Address{}
	r.DeliveredTo = mta.Address{Local: "b\"o b", Domain: "x"}
	p.mustDeliver(r)
	want := "Return-Path: <>\nDelivered-To: \"b\\\"o b\"@x\nReceived: y\nSubject: x\n\ntext\n"
	if _, got := p.only(box); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAFolderIsUsedWhereItExists(t *testing.T) {
	p := newPost(t)
	r := request("text\r\n")
	r.Folder = "lists"
	p.mustDeliver(r)
	if path, _ := p.only(box); filepath.Dir(path) != box+"/new" {
		t.Errorf("without the folder: got %s, want the inbox", path)
	}
	m := maildir.Mailbox{FS: p.disk.Process("reader"), Path: box + "/.lists"}
	if err := m.Make(); err != nil {
		t.Fatal(err)
	}
	r.Index = 2
	p.mustDeliver(r)
	if path, _ := p.only(box + "/.lists"); filepath.Dir(path) != box+"/.lists/new" {
		t.Errorf("with the folder: got %s", path)
	}
}

// No quota counts what is in Trash, and it expires: who sends does not put mail there.
func TestTrashIsForNoSenderToChoose(t *testing.T) {
	p := newPost(t)
	m := maildir.Mailbox{FS: p.disk.Process("reader"), Path: box + "/.Trash"}
	if err := m.Make(); err != nil {
		t.Fatal(err)
	}
	r := request("text\r\n")
	r.Folder = "Trash"
	p.mustDeliver(r)
	if path, _ := p.only(box); filepath.Dir(path) != box+"/new" {
		t.Errorf("got %s, want it in the inbox", path)
	}
}

// What stands behind the delimiter comes from whoever sends: bob+a/b@ was accepted, and must not wait until it bounces.
func TestAFolderThatNoneCanBeCalledIsTheInbox(t *testing.T) {
	p := newPost(t)
	for i, folder := range []string{"../../eve", "a/b", ".hidden", "a..b", "a.", strings.Repeat("x", 201), "a\x01b"} {
		r := request("text\r\n")
		r.Index, r.Folder = i, folder
		p.mustDeliver(r)
		r.Look = true // finds it where it was put
		p.mustDeliver(r)
	}
	names, err := p.disk.Process("reader").ReadDir(box + "/new")
	if err != nil || len(names) != 7 {
		t.Errorf("got %v, %v in the inbox, want 7 messages", names, err)
	}
}

func TestAFaultOfTheDiskIsADeferralWithoutDetail(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOSPC: "452 4.3.1", syscall.EDQUOT: "452 4.2.2", syscall.EACCES: "451 4.2.0", syscall.EROFS: "451 4.2.0", syscall.EIO: "451 4.2.0",
	} {
		probe := newPost(t)
		probe.mustDeliver(request("text\r\n"))
		for n := 1; n <= probe.disk.Ops(); n++ {
			p := newPost(t)
			op := ""
			p.disk.Hook = func(o simdisk.Op) error {
				if o.Seq == n {
					op = o.Name
					return errno
				}
				return nil
			}
			o := p.deliver(request("text\r\n"))
			if op == "syncdir" && errno == syscall.EACCES && o.Status == mta.Delivered {
				continue // the folder above the mailboxes need not be readable
			}
			if o.Status != mta.Deferred || !strings.HasPrefix(o.Reply().String(), want) || !errors.Is(o.Cause, errno) || strings.Contains(o.Text, box) {
				t.Errorf("%v of %s: got %+v, want %s", errno, op, o, want)
			}
			p.disk.Hook = nil
			r := request("text\r\n")
			r.Look = true
			p.mustDeliver(r)
			p.only(box) // nothing is left in tmp/, and nothing doubled
		}
	}
}

func TestAnEndedContextDeliversNothing(t *testing.T) {
	p := newPost(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o, _ := p.d.Deliver(ctx, request("x\r\n")); o.Status != mta.Deferred || p.disk.Ops() != 0 {
		t.Errorf("got %+v and %d operations", o, p.disk.Ops())
	}
	if present, _, err := p.d.Repair(ctx, request("x\r\n")); present || !errors.Is(err, context.Canceled) {
		t.Errorf("Repair: got %v, %v", present, err)
	}
}

func TestSyncEachMakesADeliveryLastAtOnce(t *testing.T) {
	for mode, want := range map[string]bool{local.SyncAuto: false, local.SyncBatched: false, local.SyncEach: true} {
		p := newPost(t)
		p.d.Sync = mode
		if err := (maildir.Mailbox{FS: p.d.FS, Path: box}).Make(); err != nil {
			t.Fatal(err)
		}
		var syncs []string
		p.disk.Hook = func(op simdisk.Op) error {
			if strings.HasPrefix(op.Name, "sync") {
				syncs = append(syncs, op.Name)
			}
			return nil
		}
		o, receipt := p.d.Deliver(t.Context(), request("x\r\n"))
		if o.Status != mta.Delivered || receipt.Synced != want || receipt.Dir != box || receipt.Dev == 0 {
			t.Errorf("%s: got %+v, %+v", mode, o, receipt)
		}
		if got := bytes.HasPrefix([]byte(strings.Join(syncs, " ")), []byte("sync syncdir")); got != want || !want && len(syncs) > 0 {
			t.Errorf("%s: got the syncs %v", mode, syncs)
		}
	}
}

// TestFilterGetsItsFolder: one that is not there is made, with what Courier knows it by; one that a sender has chosen is not.
func TestFilterGetsItsFolder(t *testing.T) {
	p := newPost(t)
	r := request("x\r\n")
	r.Folder = "Junk"
	p.mustDeliver(r)
	p.only("/mail/bob/new")
	r.ID, r.MakeFolder = "0A00000000000AAB", true
	p.mustDeliver(r)
	r.Look = true
	p.mustDeliver(r)
	p.only("/mail/bob/.Junk/new")
	p.only("/mail/bob/new")
	if _, err := p.d.FS.Stat("/mail/bob/.Junk/maildirfolder"); err != nil {
		t.Error(err)
	}
	r.ID, r.Folder, r.Mailbox = "0A00000000000AAC", "../x", "/mail/carol"
	p.mustDeliver(r)
	p.only("/mail/carol/new")
}
