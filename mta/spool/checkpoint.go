package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// checkpoint is the list that step 1 takes (spool.5, CHECKPOINT).
type checkpoint struct {
	done     []*Message
	locals   []deposit
	segs     []*segState
	journals []*journalSeg
	touched  map[*Message]bool
	gone     map[mta.ID]struct{}
	mail     map[uint64]string
}

type deposit struct {
	m *Message
	i int
}

func (c *checkpoint) empty() bool {
	return len(c.done)+len(c.locals)+len(c.segs)+len(c.journals)+len(c.gone) == 0
}

// Idle says that a checkpoint would find nothing to do.
func (s *Store) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.sweepDue() && len(s.done) == 0 && len(s.locals) == 0 && len(s.segs) == 0 && len(s.suspect) == 0 && len(s.gone) == 0 && len(s.j.unsynced) == 0 &&
		(len(s.j.segs) == 0 || len(s.j.segs) == 1 && s.j.cur != nil && len(s.j.segs[0].refs) == 0)
}

// Checkpoint makes durable what was done since the last one and reclaims what is no longer needed. The messages that it
// returns are to be scheduled again: the disk may have lost what was delivered for them (Rcpt.Redo). After an error
// nothing is lost, and the next checkpoint tries again.
func (s *Store) Checkpoint() (redo []*Message, err error) {
	s.check.Lock()
	defer s.check.Unlock()
	s.own.Rotate()
	s.sweep()
	if err := s.mend(); err != nil {
		return nil, err
	}
	if err := s.Flush(); err != nil {
		return nil, err
	}
	c := s.list()
	if c.empty() {
		s.untouch(c)
		return nil, nil
	}
	if redo, err = s.syncDisks(c); err != nil {
		return redo, err
	}
	if err := s.writeDown(c); err != nil {
		return nil, err
	}
	errs := s.unlinkFiles(c)
	errs = errors.Join(errs, s.unlinkSegments(c), s.unlinkJournals(c))
	s.forget(c)
	return nil, errs
}

// list is step 1. The journal's current segment is closed by it, once synced, so that it can go one day.
func (s *Store) list() *checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &checkpoint{touched: s.touched, gone: s.gone, mail: map[uint64]string{}}
	s.touched, s.gone = map[*Message]bool{}, map[mta.ID]struct{}{}
	inDone := map[*Message]bool{}
	settledIn := map[*segState]int{}
	for m := range s.done {
		c.done = append(c.done, m)
		inDone[m] = true
		if m.seg != nil && !m.spilled && !m.finished {
			settledIn[m.seg]++
		}
	}
	slices.SortFunc(c.done, byID)
	for m := range s.locals {
		for i := range m.rcpts {
			if m.rcpts[i].state != rcptLocal {
				continue
			}
			c.mail[m.rcpts[i].dev] = s.devs[m.rcpts[i].dev]
			if !inDone[m] {
				c.locals = append(c.locals, deposit{m, i})
			}
		}
	}
	slices.SortFunc(c.locals, func(a, b deposit) int { return cmp.Or(byID(a.m, b.m), cmp.Compare(a.i, b.i)) })
	for _, g := range s.sortedSegs() {
		if s.retirable(g, settledIn[g], inDone) {
			c.segs = append(c.segs, g)
		}
	}
	c.journals = s.reclaimable()
	s.j.rotate()
	return c
}

// retirable says whether nothing in g is needed once this checkpoint's finished records last.
func (s *Store) retirable(g *segState, settled int, done map[*Message]bool) bool {
	if !g.complete || g.keep || g.live != settled || g.own && s.making > 0 {
		return false
	}
	for _, ids := range [][]mta.ID{g.withdrawn, g.stray} {
		for _, id := range ids {
			if m := s.msgs[id]; m != nil && m.withdrawn && !m.finished && !done[m] {
				return false
			}
		}
	}
	return true
}

// reclaimable returns the oldest journal segments of which every record is about a message that was unlinked in an
// earlier checkpoint, or stands in an ID.log. A segment of messages that was not read to its end may hold any message.
func (s *Store) reclaimable() []*journalSeg {
	for _, g := range s.segs {
		if g.gone && !g.complete {
			return nil
		}
	}
	var out []*journalSeg
	for i, j := range s.j.segs {
		if s.j.cur != nil && i == len(s.j.segs)-1 && len(j.refs) == 0 {
			break
		}
		for _, r := range j.refs {
			if s.needed(r) {
				return out
			}
		}
		out = append(out, j)
	}
	return out
}

func (s *Store) needed(r journalRef) bool {
	m := s.msgs[r.id]
	if m == nil {
		return s.strays[r.id] > 0
	}
	return r.kind == kindFinished || !m.spilled || m.logBehind || m.finished
}

// syncDisks is step 2.
func (s *Store) syncDisks(c *checkpoint) ([]*Message, error) {
	if err := s.fs.SyncFS(s.l.root); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for m := range c.touched {
			s.suspect[m] = true
		}
		s.keepGone(c)
		return s.redeliver(s.device(s.l.root)), err
	}
	dev := s.device(s.l.root)
	for d, dir := range c.mail {
		if d == dev {
			continue // the sync above was this filesystem's too
		}
		if err := s.fs.SyncFS(dir); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.redeliver(d), err
		}
	}
	return nil, nil
}

func (s *Store) device(path string) uint64 {
	dev, _, err := s.fs.Device(path)
	if err != nil {
		return 0
	}
	return dev
}

// redeliver takes back all successes that only memory knows and that are in filesystem dev.
func (s *Store) redeliver(dev uint64) []*Message {
	var out []*Message
	for m := range s.locals {
		hit, left := false, false
		for i := range m.rcpts {
			if m.rcpts[i].state != rcptLocal {
				continue
			}
			if m.rcpts[i].dev != dev {
				left = true
				continue
			}
			hit = true
			m.set(i, rcptNew)
			m.rcpts[i].redo = true
		}
		if !left {
			delete(s.locals, m)
		}
		if hit {
			s.settle(m)
			out = append(out, m)
		}
	}
	slices.SortFunc(out, byID)
	return out
}

// writeDown is the first half of step 3.
func (s *Store) writeDown(c *checkpoint) error {
	s.mu.Lock()
	for _, d := range c.locals {
		r := &d.m.rcpts[d.i]
		if r.state != rcptLocal {
			continue
		}
		now := s.o.Now().UTC().Truncate(time.Second)
		s.record(d.m, entry{ID: d.m.id, R: d.i, N: r.n + 1, State: mta.Delivered.String(), At: now, Tries: r.tries + 1})
		if !slices.ContainsFunc(d.m.rcpts, func(r rcpt) bool { return r.state == rcptLocal }) {
			delete(s.locals, d.m)
		}
	}
	for _, m := range c.done {
		s.j.add(kindFinished, m.id, []byte(m.id))
	}
	s.mu.Unlock()
	return s.Flush()
}

// unlinkFiles is the second half of step 3. A message whose file cannot be removed stays on the list.
func (s *Store) unlinkFiles(c *checkpoint) (errs error) {
	for _, m := range c.done {
		err := s.unlinkMessage(m)
		errs = errors.Join(errs, err)
		s.mu.Lock()
		if err == nil {
			m.finished = true
			delete(s.done, m)
			delete(s.locals, m)
			delete(s.suspect, m)
			delete(s.touched, m)
			if m.seg != nil && !m.spilled {
				m.seg.live--
			}
		}
		s.mu.Unlock()
	}
	return errs
}

func (s *Store) unlinkMessage(m *Message) (errs error) {
	if !m.files && !m.withdrawn {
		return nil
	}
	for _, path := range []string{s.l.deferred(m.id), s.l.deferredLog(m.id), s.l.large(m.id)} {
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// unlinkSegments is step 4.
func (s *Store) unlinkSegments(c *checkpoint) (errs error) {
	s.tail.Lock()
	defer s.tail.Unlock()
	for _, g := range c.segs {
		s.mu.Lock()
		needed := g.live != 0 // a file of one of its messages could not be removed
		s.mu.Unlock()
		if needed {
			continue
		}
		if err := s.fs.Remove(s.l.file(dirIncoming, g.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, err)
			continue
		}
		s.mu.Lock()
		s.dropSegment(g)
		s.mu.Unlock()
	}
	return errs
}

func (s *Store) dropSegment(g *segState) {
	delete(s.segs, g.name)
	for _, ids := range [][]mta.ID{g.stray, g.withdrawn} {
		for _, id := range ids {
			s.unstray(id)
		}
	}
	for _, id := range g.large {
		s.gone[id] = struct{}{}
	}
	for _, m := range g.msgs {
		m.seg = nil
		if m.finished {
			delete(s.msgs, m.id)
		}
	}
}

// unlinkJournals is step 5, oldest first; the first that cannot go keeps the rest.
func (s *Store) unlinkJournals(c *checkpoint) error {
	for _, j := range c.journals {
		if err := s.fs.Remove(s.l.file(dirJournal, j.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.mu.Lock()
		s.j.segs = slices.DeleteFunc(s.j.segs, func(x *journalSeg) bool { return x == j })
		s.mu.Unlock()
	}
	return nil
}

// forget drops the finished messages of which nothing is left on the disk.
func (s *Store) forget(c *checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range c.done {
		if m.finished && m.seg == nil {
			delete(s.msgs, m.id)
		}
	}
}

// untouch puts back what list took for a checkpoint that did not sync.
func (s *Store) untouch(c *checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range c.touched {
		s.touched[m] = true
	}
	s.keepGone(c)
}

func (s *Store) keepGone(c *checkpoint) {
	for id := range c.gone {
		s.gone[id] = struct{}{}
	}
}

func byID(a, b *Message) int { return cmp.Compare(a.id, b.id) }
