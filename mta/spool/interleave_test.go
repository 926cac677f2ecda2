package spool_test

import (
	"io/fs"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// interleave is smtpd's disk with one moment held open: while a segment of messages is being synced, it lets another
// session append to it.
type interleave struct {
	durable.FS
	during func() // run once, at the beginning of the next sync of a segment
	wrote  chan struct{}
	lies   []error // what the next syncs of records say although the disk has done them
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
	if f.x.wrote != nil {
		select {
		case f.x.wrote <- struct{}{}:
		default:
		}
	}
	return n, err
}

func (f *interleavedFile) Sync() error {
	// Other syncs, of a header or of withdrawals, are made while no session can append.
	if during := f.x.during; during != nil && f.last == 'M' {
		f.x.during = nil
		during()
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
	w.pair.during = func() {
		if w.crashed != "" {
			return
		}
		started = true
		finish, commit := w.begin()
		second <- finish
		w.pair.wrote = make(chan struct{}, 1)
		go func() {
			defer close(done)
			commit()
		}()
		select {
		case <-w.pair.wrote: // its record is there; it waits for the next sync
		case <-done: // it was refused before that
		}
		w.pair.wrote = nil
	}
	w.writer.Rotate() // a segment that is due would make the second session wait for the first
	w.accept()
	w.pair.during = nil
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
