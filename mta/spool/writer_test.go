package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest/simdisk"
)

const root = "/spool/q"

// machine is a spool on a simulated disk.
type machine struct {
	t    *testing.T
	disk *simdisk.Disk
	now  time.Time
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, disk: simdisk.New("spool", "mail"), now: time.Unix(1_800_000_000, 0)}
	m.disk.Now = m.clock
	if err := MakeDirs(m.disk.Process("install"), root); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) clock() time.Time { return m.now }

func (m *machine) writer() *Writer { return m.writerOn(m.disk.Process("smtpd")) }

func (m *machine) writerOn(fsys durable.FS) *Writer {
	return OpenWriter(fsys, root, WriterOptions{Boot: "boot", Now: m.clock})
}

// list returns the names in a folder of the spool.
func (m *machine) list(dir string) []string {
	m.t.Helper()
	names, err := m.disk.Process("look").ReadDir(filepath.Join(root, dir))
	if err != nil {
		m.t.Fatal(err)
	}
	return names
}

// octets returns what a file of the spool holds.
func (m *machine) octets(path string) []byte {
	m.t.Helper()
	f, err := m.disk.Process("look").Open(filepath.Join(root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		m.t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		m.t.Fatal(err)
	}
	return b
}

// put takes a message in.
func put(w *Writer, content string) (mta.ID, error) {
	in := w.Begin()
	_, werr := io.WriteString(in, content)
	err := in.Commit(anEnvelope())
	return in.ID(), errors.Join(err, werr)
}

func anEnvelope() *mta.Envelope {
	return &mta.Envelope{Role: mta.RoleMX, Rcpts: []mta.Recipient{{Address: mta.Address{Local: "l", Domain: "x"}}}}
}

func (m *machine) put(w *Writer, content string) mta.ID {
	m.t.Helper()
	id, err := put(w, content)
	if err != nil {
		m.t.Fatal(err)
	}
	return id
}

// records reads a segment of incoming/ and shows its records: kinds, and ids of messages and withdrawals.
func (m *machine) records(name string) (kinds string, ids []mta.ID) {
	m.t.Helper()
	got, _ := readAll(m.t, m.octets("incoming/"+name), false)
	for _, g := range got {
		kinds += string(rune(g.kind))
		switch g.kind {
		case kindMessage:
			rec, err := parseMessage([]byte(g.payload))
			if err != nil {
				m.t.Fatal(err)
			}
			_, id, _ := strings.Cut(string(rec.envelope), `"id":"`)
			ids = append(ids, mta.ID(id[:16]))
		case kindWithdrawn:
			ids = append(ids, mta.ID(g.payload))
		}
	}
	return kinds, ids
}

// gated holds each sync of a segment in incoming/ until it is let go, and counts them.
type gated struct {
	durable.FS
	mu    sync.Mutex // guards syncs
	syncs int
	gate  chan struct{}
}

func (g *gated) Create(path string, perm fs.FileMode) (durable.File, error) {
	f, err := g.FS.Create(path, perm)
	if err != nil {
		return nil, err
	}
	return &gatedFile{File: f, g: g}, nil
}

type gatedFile struct {
	durable.File
	g       *gated
	message bool
}

func (f *gatedFile) WriteAt(p []byte, off int64) (int, error) {
	f.message = f.message || len(p) > 4 && p[4] == byte(kindMessage)
	return f.File.WriteAt(p, off)
}

func (f *gatedFile) Sync() error {
	if f.message { // not a header's sync
		f.g.mu.Lock()
		f.g.syncs++
		f.g.mu.Unlock()
		<-f.g.gate
	}
	return f.File.Sync()
}

func TestSessionsThatCommitTogetherShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		g := &gated{FS: m.disk.Process("smtpd"), gate: make(chan struct{})}
		w := m.writerOn(g)
		const sessions = 50
		errs := make(chan error, sessions+1)
		commit := func(i int) { _, err := put(w, fmt.Sprintf("message %d\r\n", i)); errs <- err }
		go commit(0)
		synctest.Wait() // it holds the first sync
		for i := range sessions {
			go commit(i + 1)
		}
		synctest.Wait() // all of them wait for the next one
		if len(errs) > 0 {
			t.Fatalf("%d sessions were answered before any sync", len(errs))
		}
		g.gate <- struct{}{}
		synctest.Wait()
		if len(errs) != 1 {
			t.Fatalf("after the first sync %d sessions were answered, want 1: the others' records lie behind it", len(errs))
		}
		g.gate <- struct{}{}
		synctest.Wait()
		if len(errs) != sessions+1 || g.syncs != 2 {
			t.Fatalf("got %d answers and %d syncs, want %d and 2", len(errs), g.syncs, sessions+1)
		}
		for range sessions + 1 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		w.Close()
		kinds, ids := m.records(m.list("incoming")[0])
		if want := "M" + strings.Repeat("M", sessions) + "CCX"; kinds != want || len(ids) != sessions+1 {
			t.Errorf("got the records %s, want %s", kinds, want)
		}
	})
}

func TestACommitRecordCoversWhatItsSyncCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		g := &gated{FS: m.disk.Process("smtpd"), gate: make(chan struct{})}
		w := m.writerOn(g)
		errs := make(chan error, 2)
		go func() { _, err := put(w, "first\r\n"); errs <- err }()
		synctest.Wait()
		go func() { _, err := put(w, "second\r\n"); errs <- err }()
		synctest.Wait()
		g.gate <- struct{}{}
		synctest.Wait()
		got, _ := readAll(t, m.octets("incoming/"+m.list("incoming")[0]), false)
		if len(got) != 3 || got[2].kind != kindCommit || commitOffset([]byte(got[2].payload)) != got[1].off {
			t.Errorf("got %v, want a commit up to the second message", got)
		}
		g.gate <- struct{}{}
		synctest.Wait()
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Error(err)
		}
	})
}

func TestAWriterGoesOnInANewSegmentAfterAWhile(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	if names := m.list("incoming"); len(names) != 0 {
		t.Fatalf("an idle writer has %v", names)
	}
	m.put(w, "a\r\n")
	m.now = m.now.Add(rotateAfter - 1)
	w.Rotate()
	m.put(w, "b\r\n")
	m.now = m.now.Add(1)
	m.put(w, "c\r\n")
	names := m.list("incoming")
	if len(names) != 2 || !slices.IsSorted(names) {
		t.Fatalf("got %v, want two segments", names)
	}
	if kinds, _ := m.records(names[0]); kinds != "MCMCX" {
		t.Errorf("the old one: got %s, want MCMCX", kinds)
	}
	if kinds, _ := m.records(names[1]); kinds != "MC" {
		t.Errorf("the new one: got %s, want MC", kinds)
	}
	m.now = m.now.Add(rotateAfter)
	w.Rotate()
	if kinds, _ := m.records(names[1]); kinds != "MCX" {
		t.Errorf("after Rotate: got %s, want MCX", kinds)
	}
	w.Rotate()
	if got := m.list("incoming"); len(got) != 2 {
		t.Errorf("an idle writer has made %v", got)
	}
}

func TestAWriterGoesOnInANewSegmentWhenOneIsFull(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	m.put(w, "a\r\n")
	for _, c := range []struct {
		off  int64
		want int
	}{{maxSegment - 1, 1}, {maxSegment, 2}} {
		w.cur.off = c.off // as if so much had been written
		m.put(w, "b\r\n")
		if names := m.list("incoming"); len(names) != c.want {
			t.Errorf("at %d octets: got %v, want %d segments", c.off, names, c.want)
		}
	}
	w.Close()
}

func TestCloseEndsAWriterInOrder(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	m.put(w, "a\r\n")
	if names := m.list("tmp"); len(names) != 1 {
		t.Errorf("tmp: got %v, want the spare segment", names)
	}
	w.Close()
	if kinds, _ := m.records(m.list("incoming")[0]); kinds != "MCX" {
		t.Errorf("got %s, want MCX", kinds)
	}
	if names := m.list("tmp"); len(names) != 0 {
		t.Errorf("tmp: got %v, want nothing left", names)
	}
	if _, err := put(w, "b\r\n"); !errors.Is(err, ErrFailed) {
		t.Errorf("a message after Close: got %v, want ErrFailed", err)
	}
	w.Close()
}

func TestAFailedSyncWithdrawsInTheSpareSegment(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	kept := m.put(w, "kept\r\n")
	spare := m.list("tmp")[0]
	failed := false
	m.disk.Hook = func(op simdisk.Op) error {
		if op.Name == "sync" && strings.Contains(op.Path, "/tmp/") && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	}
	id, err := put(w, "lost\r\n")
	if !errors.Is(err, ErrFailed) || errors.Is(err, ErrUnknown) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want ErrFailed for the EIO", err)
	}
	after := m.put(w, "after\r\n")
	names := m.list("incoming")
	if len(names) != 2 || names[1] != spare {
		t.Fatalf("got %v, want the second one to be the spare %s", names, spare)
	}
	if kinds, ids := m.records(names[0]); kinds != "MCM" || !slices.Equal(ids, []mta.ID{kept, id}) {
		t.Errorf("the segment that was left: got %s %v", kinds, ids)
	}
	if kinds, ids := m.records(names[1]); kinds != "WCMC" || !slices.Equal(ids, []mta.ID{id, after}) {
		t.Errorf("the new segment: got %s %v, want WCMC %v", kinds, ids, []mta.ID{id, after})
	}
}

func TestWhereTheWithdrawalFailsTooTheFateIsUnknown(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	m.put(w, "kept\r\n")
	m.disk.Hook = func(op simdisk.Op) error {
		if op.Name == "sync" {
			return syscall.EIO
		}
		return nil
	}
	if _, err := put(w, "a\r\n"); !errors.Is(err, ErrUnknown) || errors.Is(err, ErrFailed) || errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrUnknown alone", err)
	}
	m.disk.Hook = nil
	m.put(w, "b\r\n")
}

// steps returns how many operations a message takes of smtpd, with the segment's making in it.
func steps(t *testing.T, content string) int {
	m := newMachine(t)
	before := m.disk.Ops()
	m.put(m.writer(), content)
	return m.disk.Ops() - before
}

func TestOneFailedOperationRefusesTheMessageAndNoMore(t *testing.T) {
	for name, content := range map[string]string{"small": "small\r\n", "large": strings.Repeat("large\r\n", LargeSize/3)} {
		for n := range steps(t, content) {
			for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
				m := newMachine(t)
				w := m.writer()
				at, what := m.disk.Ops()+1+n, ""
				m.disk.Hook = func(op simdisk.Op) error {
					if op.Seq == at {
						what = op.Name + " " + op.Path
						return errno
					}
					return nil
				}
				id, err := put(w, content)
				want := ErrFailed
				if errno == syscall.ENOSPC {
					want = ErrFull
				}
				if !errors.Is(err, want) || errors.Is(err, ErrUnknown) {
					t.Errorf("%s, %v at step %d (%s): got %v, want %v", name, errno, n, what, err, want)
				}
				m.disk.Hook = nil
				m.takesOnly(w, id, name)
			}
		}
	}
}

func TestAFullDiskRefusesWithoutDoubtUntilThereIsRoom(t *testing.T) {
	for name, content := range map[string]string{"small": "small\r\n", "large": strings.Repeat("large\r\n", LargeSize/3)} {
		for n := range steps(t, content) {
			m := newMachine(t)
			w := m.writer()
			from, refused := m.disk.Ops()+1+n, false
			// What was allocated can be written and synced on a full disk; all that needs room fails.
			m.disk.Hook = func(op simdisk.Op) error {
				grows := op.Name == "create" || op.Name == "allocate" || op.Name == "write" && !strings.HasSuffix(op.Path, segSuffix)
				if op.Seq >= from && grows {
					refused = true
					return syscall.ENOSPC
				}
				return nil
			}
			id, err := put(w, content)
			if refused && !errors.Is(err, ErrFull) && err != nil || !refused && err != nil {
				t.Errorf("%s, full from step %d: got %v, want ErrFull or success", name, n, err)
			}
			m.disk.Hook = nil
			if err != nil {
				m.takesOnly(w, id, name)
			}
		}
	}
}

// takesOnly checks that w takes a message now, and that queue-runner finds that one and not the refused one.
func (m *machine) takesOnly(w *Writer, refused mta.ID, name string) {
	m.t.Helper()
	id, err := put(w, "afterwards\r\n")
	if err != nil {
		m.t.Errorf("%s: when the disk works again: got %v", name, err)
		return
	}
	w.Close()
	s, err := Open(Options{FS: m.disk.Process("runner"), Root: root, Boot: "boot", Now: m.clock})
	if err != nil {
		m.t.Error(err)
		return
	}
	defer s.Close()
	for _, x := range s.Outstanding() {
		if x.ID() == refused {
			m.t.Errorf("%s: %s was refused and is to be delivered", name, refused)
		}
	}
	if got := s.Outstanding(); len(got) != 1 || got[0].ID() != id {
		m.t.Errorf("%s: got %d messages to deliver, want %s alone", name, len(got), id)
	}
	if _, err := s.Checkpoint(); err != nil {
		m.t.Error(err)
	}
	if names := m.list("large"); slices.Contains(names, string(refused)) {
		m.t.Errorf("%s: the content of a refused message is left", name)
	}
}

func TestARecordBeyondAllBoundsIsRefusedAndNothingElse(t *testing.T) {
	m := newMachine(t)
	w := m.writer()
	in := w.Begin()
	env := anEnvelope()
	env.Prepend = strings.Repeat("x", maxPayload)
	if err := in.Commit(env); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
	m.put(w, "next\r\n")
}
