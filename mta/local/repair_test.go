package local_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

const text = "Subject: x\r\n\r\nthe text of the message\r\n"

var stored = head + strings.ReplaceAll(text, "\r\n", "\n")

func look() local.Request {
	r := request(text)
	r.Look = true
	return r
}

func TestARepeatedDeliveryFindsItsOwnFile(t *testing.T) {
	for name, c := range map[string]struct {
		after func(p *post, path string) string // returns where the file is to be afterwards
	}{
		"in new":                     {func(_ *post, path string) string { return path }},
		"read":                       {func(p *post, path string) string { return p.moved(path, box+"/cur/"+filepath.Base(path)+":2,S") }},
		"renamed by another program": {func(p *post, path string) string { return p.moved(path, box+"/cur/"+string(id)+".1.h.x:2,FRS") }},
		"cut short":                  {func(p *post, path string) string { p.write(path, stored[:30]); return path }},
		"empty":                      {func(p *post, path string) string { p.write(path, ""); return path }},
		"zeros":                      {func(p *post, path string) string { p.write(path, string(make([]byte, len(stored)))); return path }},
		"zeros at the end": {func(p *post, path string) string {
			p.write(path, stored[:40]+string(make([]byte, len(stored)-40)))
			return path
		}},
		"too long": {func(p *post, path string) string { p.write(path, stored+"\x00"); return path }},
		"cut short, and read meanwhile": {func(p *post, path string) string {
			p.write(path, stored[:30])
			return p.moved(path, box+"/cur/"+filepath.Base(path)+":2,S")
		}},
	} {
		for _, mode := range []string{local.SyncAuto, local.SyncEach} {
			p := newPost(t)
			p.d.Sync = mode
			p.mustDeliver(request(text))
			path, _ := p.only(box)
			want := c.after(p, path)
			present, receipt, err := p.d.Repair(t.Context(), look())
			if err != nil || !present || receipt.Synced != (mode == local.SyncEach) {
				t.Errorf("%s, %s: Repair: got %v, %+v, %v", name, mode, present, receipt, err)
			}
			p.mustDeliver(look())
			if got, content := p.only(box); got != want || content != stored {
				t.Errorf("%s, %s: got %s %q\nwant %s %q", name, mode, got, content, want, stored)
			}
		}
	}
}

func TestAnothersFileIsNotTakenForOnesOwn(t *testing.T) {
	p := newPost(t)
	for _, index := range []int{0, 10, 11, 2} { // 1 is a prefix of some
		r := look()
		r.Index = index
		p.mustDeliver(r)
	}
	if present, _, err := p.d.Repair(t.Context(), look()); err != nil || present {
		t.Errorf("got %v, %v; want nothing found", present, err)
	}
	p.mustDeliver(look())
	if got := files(t, p.disk.Process("look"), box); len(got) != 5 {
		t.Errorf("got %d files, want 5", len(got))
	}
}

func TestWithoutALookADeliveryStillReplacesNothing(t *testing.T) {
	p := newPost(t)
	p.mustDeliver(request(text))
	p.mustDeliver(request(text)) // the same name is there
	if _, content := p.only(box); content != stored {
		t.Errorf("got %q", content)
	}
}

func TestNothingToFindIsNoFault(t *testing.T) {
	p := newPost(t)
	if present, _, err := p.d.Repair(t.Context(), look()); err != nil || present || p.disk.Ops() != 0 {
		t.Errorf("no mailbox: got %v, %v, %d operations", present, err, p.disk.Ops())
	}
}

func TestRedoWritesAnewWhatTheDiskMayHaveLost(t *testing.T) {
	p := newPost(t)
	p.mustDeliver(request(text))
	path, _ := p.only(box)
	path = p.moved(path, box+"/cur/"+filepath.Base(path)+":2,S")
	r := request(text)
	r.Redo = true
	var ops []string
	p.disk.Hook = func(op simdisk.Op) error {
		ops = append(ops, op.Name)
		return nil
	}
	p.mustDeliver(r)
	p.disk.Hook = nil
	if got, content := p.only(box); got != path || content != stored {
		t.Errorf("got %s %q, want %s", got, content, path)
	}
	if got := strings.Join(ops, " "); !strings.Contains(got, "write sync rename syncdir") {
		t.Errorf("got the operations %s, want it written and synced", got)
	}
	// One that a reader has taken is not delivered again.
	if err := p.disk.Process("reader").Remove(path); err != nil {
		t.Fatal(err)
	}
	p.mustDeliver(r)
	if got := files(t, p.disk.Process("look"), box); len(got) > 0 {
		t.Errorf("after it was taken: got %v, want nothing", got)
	}
}

// shy is a disk on which a file moves away between the listing of its folder and its opening.
type shy struct {
	durable.FS
	move func(path string)
}

func (s *shy) Open(path string) (durable.File, error) {
	if move := s.move; move != nil {
		s.move = nil
		move(path)
	}
	return s.FS.Open(path)
}

func (s *shy) Create(path string, perm fs.FileMode) (durable.File, error) {
	return s.FS.Create(path, perm)
}

func TestAFileThatMovesWhileItIsLookedAtIsFound(t *testing.T) {
	for name, content := range map[string]string{"whole": stored, "cut short": stored[:20]} {
		p := newPost(t)
		p.mustDeliver(request(text))
		path, _ := p.only(box)
		p.write(path, content)
		want := box + "/cur/" + filepath.Base(path) + ":2,S"
		p.d.FS = &shy{FS: p.d.FS, move: func(path string) { p.moved(path, want) }}
		if o := p.deliver(look()); o.Status != mta.Delivered {
			t.Errorf("%s: got %+v", name, o)
		}
		if got, content := p.only(box); got != want || content != stored {
			t.Errorf("%s: got %s %q, want %s", name, got, content, want)
		}
	}
	p := newPost(t)
	p.mustDeliver(request(text))
	p.d.FS = &shy{FS: p.d.FS, move: func(path string) {
		if err := p.disk.Process("reader").Remove(path); err != nil {
			t.Error(err)
		}
	}}
	if present, _, err := p.d.Repair(t.Context(), look()); err != nil || !present {
		t.Errorf("a reader has removed it: got %v, %v; want it delivered", present, err)
	}
	if got := files(t, p.disk.Process("look"), box); len(got) > 0 {
		t.Errorf("got %v, want it not delivered again", got)
	}
}

func TestARepeatFindsItsFileThoughTheFolderIsNew(t *testing.T) {
	p := newPost(t)
	r := look()
	r.Folder = "lists"
	p.mustDeliver(r) // to the inbox: there is no .lists
	if err := (maildir.Mailbox{FS: p.disk.Process("reader"), Path: box + "/.lists"}).Make(); err != nil {
		t.Fatal(err)
	}
	p.mustDeliver(r)
	if n := len(files(t, p.disk.Process("look"), box)); n != 1 {
		t.Errorf("got %d copies, want 1", n)
	}
}
