package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Result is what became of one recipient.
type Result struct {
	Outcome mta.Outcome
	Next    time.Time // of a deferral: when to try again
	Quiet   bool      // of a failure: nobody is to be told
	Tell    string    // of a success: the sender is to be told of it, in this word; "" = is not
}

// Record writes down what became of recipient i. It does not wait for the disk and does not fail: what cannot be
// written stays in memory and is tried again, and Flush says so. A success in a local mailbox is for Deposited.
func (s *Store) Record(m *Message, i int, res Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &m.rcpts[i]
	e := entry{ID: m.id, R: i, N: r.n + 1, State: res.Outcome.Status.String(), Next: res.Next, Quiet: res.Quiet, Tries: r.tries + 1}
	if res.Outcome.Status == mta.Delivered {
		e.Tell = res.Tell
	}
	e.fill(&res.Outcome, res.Outcome.At)
	s.record(m, e)
}

// Hold keeps a message from being tried, or lets it go where the reason is "". It lasts once Flush succeeds.
func (s *Store) Hold(m *Message, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(m, entry{ID: m.id, N: m.holds + 1, Hold: &reason})
}

// record applies an entry and writes it to the journal and, of a spilled message, to its ID.log.
func (s *Store) record(m *Message, e entry) {
	m.apply(e, &s.said)
	k := kindResult
	if e.isReport() {
		k = kindReported
	}
	b := e.bytes()
	s.j.add(k, m.id, b)
	if m.spilled {
		s.appendLog(m, b)
	}
	s.settle(m)
}

// Deposited notes that recipient i has the message in its mailbox, in a folder of filesystem dev, without a sync. Only
// the checkpoint that has synced that filesystem writes it down.
func (s *Store) Deposited(m *Message, i int, dev uint64, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.set(i, rcptLocal)
	m.rcpts[i].dev, m.rcpts[i].redo = dev, false
	s.locals[m] = true
	s.devs[dev] = dir
	s.settle(m)
}

// Flush makes all results last that were recorded before it. After an error nothing is lost while the process lives;
// the caller begins no delivery until a later Flush succeeds.
func (s *Store) Flush() error {
	s.flush.Lock()
	defer s.flush.Unlock()
	for try := 0; ; try++ {
		err := s.flushOnce()
		if err == nil || try == 1 {
			return err
		}
	}
}

func (s *Store) flushOnce() error {
	s.mu.Lock()
	err := s.j.write()
	cur, n := s.j.cur, s.j.written
	if err != nil || n == 0 {
		s.mu.Unlock()
		return err
	}
	covered := cur.off
	s.mu.Unlock()
	err = cur.f.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.j.cur != cur {
		return errors.New("journal segment given up meanwhile")
	}
	if err != nil {
		s.j.leave()
		return err
	}
	s.j.synced(n, covered)
	return nil
}

// appendLog adds a line to deferred/ab/ID.log.
func (s *Store) appendLog(m *Message, line []byte) {
	if m.logBehind {
		return // it will be rewritten whole
	}
	line = append(line, '\n')
	f, err := s.fs.OpenWrite(s.l.deferredLog(m.id))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.fs.Create(s.l.deferredLog(m.id), 0o640)
	}
	if err == nil {
		_, err = f.WriteAt(line, m.logSize)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	s.touched[m] = true
	if err != nil {
		m.logBehind = true
		s.o.Log.SpoolError("write result", err)
		return
	}
	m.logSize += int64(len(line))
}

func logBytes(m *Message) []byte {
	var b []byte
	for _, e := range m.entries() {
		b = append(b, e.bytes()...)
		b = append(b, '\n')
	}
	return b
}

// writeTmp makes a file in tmp/, replacing what an earlier try left there.
func (s *Store) writeTmp(path string, b []byte, sync bool) error {
	f, err := s.fs.Create(path, 0o640)
	if errors.Is(err, fs.ErrExist) {
		if err = s.fs.Remove(path); err == nil {
			f, err = s.fs.Create(path, 0o640)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = s.fs.Remove(path)
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
