package spool_test

import (
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// interleave is smtpd's disk with one moment held open: while a segment of messages is being synced, it lets another
// session append to it.
type interleave struct {
	durable.FS
	lies []error // what the next syncs of records say although the disk has done them

	mu     sync.Mutex // guards during and wrote
	during func()     // run once, at the beginning of the next sync of a segment
	wrote  chan struct{}
}

// hold sets what happens during the next sync.
func (x *interleave) hold(during func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.during = during
}

// listen makes the next writes of records known on wrote.
func (x *interleave) listen(wrote chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wrote = wrote
}

func (x *interleave) written() {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case x.wrote <- struct{}{}: // nobody is there while it is nil
	default:
	}
}

func (x *interleave) take() func() {
	x.mu.Lock()
	defer x.mu.Unlock()
	during := x.during
	x.during = nil
	return during
}

func (x *interleave) Create(path string, perm fs.FileMode) (durable.File, error) {
	f, err := x.FS.Create(path, perm)
	if err != nil || !strings.HasSuffix(path, ".seg") {
		return f, err
	}
	return &interleavedFile{File: f, x: x}, nil
}

type interleavedFile struct {
	durable.File
	x    *interleave
	last byte // kind of the last record written
}

func (f *interleavedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.last = p[4]
	f.x.written()
	return n, err
}

func (f *interleavedFile) Sync() error {
	// Other syncs, of a header or of withdrawals, are made while no session can append.
	if f.last == 'M' {
		if during := f.x.take(); during != nil {
			during()
		}
	}
	err := f.File.Sync()
	if err == nil && f.last != 'H' && len(f.x.lies) > 0 {
		err, f.x.lies = f.x.lies[0], f.x.lies[1:]
	}
	return err
}

// acceptPair lets a second session append its message while the first one's is being synced. Both goroutines are never
// at work at the same time: which operation comes when is the seed's choice alone.
func (w *world) acceptPair() {
	second := make(chan func(), 1)
	done := make(chan struct{})
	started := false
	w.pair.hold(func() {
		if w.crashed != "" {
			return
		}
		started = true
		finish, commit := w.begin()
		second <- finish
		wrote := make(chan struct{}, 1)
		w.pair.listen(wrote)
		go func() {
			defer close(done)
			commit()
		}()
		select {
		case <-wrote: // its record is there; it waits for the next sync
		case <-done: // it was refused before that
		}
		w.pair.listen(nil)
	})
	w.writer.Rotate() // a segment that is due would make the second session wait for the first
	w.accept()
	w.pair.hold(nil)
	if started {
		<-done
		(<-second)()
	}
}

// busy is queue-runner's disk: while a checkpoint waits for it, deliveries go on.
type busy struct {
	durable.FS
	w *world
}

// Open fails for w.blind segments of messages.
func (b *busy) Open(path string) (durable.File, error) {
	if b.w.blind > 0 && strings.Contains(path, "/incoming/") {
		b.w.blind--
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EMFILE}
	}
	return b.FS.Open(path)
}

func (b *busy) SyncFS(path string) error {
	err := b.FS.SyncFS(path)
	if w := b.w; err == nil && w.crashed == "" && !w.resting && w.store != nil && w.rng.IntN(4) == 0 {
		w.meanwhile()
	}
	return err
}

// meanwhile is what queue-runner's other goroutines do between a sync and what the checkpoint concludes from it.
func (w *world) meanwhile() {
	fresh, _, _ := w.store.Poll(1)
	w.active = append(w.active, fresh...)
	m := w.pick()
	if m == nil {
		return
	}
	switch w.rng.IntN(3) {
	case 0:
		_ = w.store.Spill(m)
	case 1:
		w.attempt(m)
		w.report(m)
	default:
		w.attempt(m)
	}
}
