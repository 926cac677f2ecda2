package spool_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// TestGuardALargeFileWaitsForAReading sweeps twice while no segment is read: the record that names the file may be there.
func TestGuardALargeFileWaitsForAReading(t *testing.T) {
	large := func(w *world) {
		w.large = true
		accept("L")(w)
	}
	later := func(w *world) { w.now = w.now.Add(11 * time.Minute) }
	replay(t, 1, local.SyncAuto, scene{large, later, checkpoint, later, checkpoint, later, checkpoint})
}

// TestGuardALargeFileOutlastsItsSegment unlinks a dead writer's segment with an uncommitted message: until the unlink
// lasts, a power loss may bring the segment back, and what it names must be there.
func TestGuardALargeFileOutlastsItsSegment(t *testing.T) {
	die := func(w *world) { // between the sync of the record and its commit record
		w.large, w.shape = true, "L"
		w.pair.hold(func() { // the record is written; its sync comes next, and then the commit record
			w.arm([]fault{{2, faultKill}})
		})
		w.accept()
	}
	later := func(w *world) { w.now = w.now.Add(11 * time.Minute) }
	failing := failOnce("syncfs", "/spool") // so the unlink does not last when the file is looked at again
	for n := range 6 {
		replay(t, 12, local.SyncAuto, scene{die, poll, later, checkpoint, failing, later, checkpoint, poll, poll, later, powerAt(n + 1), checkpoint, powerNow})
	}
}

// TestGuardAParentIsSettledByItsReportsOwnList lets queue-runner die when a report about the first recipient is
// committed and not yet noted, and the second has failed meanwhile.
func TestGuardAParentIsSettledByItsReportsOwnList(t *testing.T) {
	first := func(w *world) {
		m := w.active[0]
		fail := spool.Result{Outcome: mta.Outcome{Status: mta.Failed, Code: 550, Text: "no"}}
		w.store.Record(m, 0, fail)
		_, err := w.store.Report(m, spool.Telling{Failed: []int{0}}, func(_ mta.ID, c io.Writer) (*mta.Envelope, error) {
			w.store.Record(m, 1, fail)
			w.flush()
			_, err := io.WriteString(c, "Subject: report\r\n\r\nfirst\r\n")
			w.killAfterCommit()
			return &mta.Envelope{Role: mta.RoleBounce, Rcpts: []mta.Recipient{{Address: address('R', 0)}}}, err
		})
		if err == nil {
			w.fail("the report was noted although queue-runner was to die before")
		}
	}
	replay(t, 1, local.SyncAuto, scene{accept("FF"), poll, first, reportAll, attemptAll, checkpoint})
}

// killAfterCommit ends queue-runner when it writes to the disk after its next commit record: its own segment is made,
// its name synced, a spare made, and the message written, synced and committed by then.
func (w *world) killAfterCommit() {
	synced := false
	writes := 0
	w.disk.Hook = func(op simdisk.Op) error {
		if op.Name == "syncdir" && strings.HasSuffix(op.Path, "incoming") {
			synced = true
		}
		if op.Name == "write" && synced {
			writes++
		}
		if writes < 4 { // the spare's header, the message, the commit record, the note that it was reported
			return nil
		}
		w.disk.Hook = nil
		w.crashed = op.Proc
		w.disk.KillLocked(op.Proc)
		return simdisk.ErrDead
	}
}

// shy is a disk on which a file that is being renamed is missed by the first listing of its folder.
type shy struct {
	durable.FS
	folder string
}

func (s *shy) ReadDir(path string) ([]string, error) {
	if path == s.folder {
		s.folder = ""
		return nil, nil
	}
	return s.FS.ReadDir(path)
}

type text string

func (x text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(x))
	return int64(n), err
}

func mailboxOn(t *testing.T) (*simdisk.Disk, maildir.Mailbox) {
	t.Helper()
	d := simdisk.New("mail")
	box := maildir.Mailbox{FS: d.Process("runner"), Path: "/mail/box"}
	if err := box.Make(); err != nil {
		t.Fatal(err)
	}
	return d, box
}

// TestGuardAFileThatAReaderRenamesIsFound misses the file at the first look.
func TestGuardAFileThatAReaderRenamesIsFound(t *testing.T) {
	d, box := mailboxOn(t)
	if err := box.Deliver("a.0.h", text("one\n"), false); err != nil {
		t.Fatal(err)
	}
	box.FS = &shy{d.Process("runner"), "/mail/box/new"}
	if path, err := box.Find("a.0.h"); path == "" || err != nil {
		t.Errorf("Find: got %q, %v, want the file", path, err)
	}
}

// TestGuardACompletedFileLasts cuts the power after a file was completed.
func TestGuardACompletedFileLasts(t *testing.T) {
	for seed := range uint64(12) {
		d, box := mailboxOn(t)
		const path = "/mail/box/new/a.0.h,S=4,W=5"
		err := errors.Join(box.Deliver("a.0.h", text("one\n"), true), box.Replace(path, "a.0.h", text("two\n")))
		if err != nil {
			t.Fatal(err)
		}
		d.PowerOff()
		d.PowerLoss(rand.New(rand.NewPCG(seed, 1)))
		f, err := d.Process("look").Open(path)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		b := make([]byte, 4)
		if _, err := f.ReadAt(b, 0); err != nil || string(b) != "two\n" {
			t.Fatalf("seed %d: got %q, %v, want the second text", seed, b, err)
		}
	}
}

// TestGuardADeliveryReplacesNothing delivers twice under one name.
func TestGuardADeliveryReplacesNothing(t *testing.T) {
	d, box := mailboxOn(t)
	for i, want := range []error{nil, fs.ErrExist} {
		if err := box.Deliver("a.0.h", text(fmt.Sprintf("%d\n", i)), false); !errors.Is(err, want) {
			t.Errorf("delivery %d: got %v, want %v", i, err, want)
		}
	}
	f, err := d.Process("look").Open("/mail/box/new/a.0.h,S=2,W=3")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "0\n" {
		t.Errorf("got %q, %v, want the first delivery's text", b, err)
	}
}

// TestGuardAFailedDeliveryLeavesNothingInTmp fails each operation of a delivery once.
func TestGuardAFailedDeliveryLeavesNothingInTmp(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "rename"} {
		d, box := mailboxOn(t)
		d.Hook = func(o simdisk.Op) error {
			if o.Name != op {
				return nil
			}
			d.Hook = nil
			return syscall.EIO
		}
		if err := box.Deliver("a.0.h", text("one\n"), true); err == nil {
			t.Errorf("%s fails: got no error", op)
		}
		if names, err := box.FS.ReadDir("/mail/box/tmp"); len(names) > 0 || err != nil {
			t.Errorf("%s fails: tmp has %v, %v, want nothing", op, names, err)
		}
	}
}
