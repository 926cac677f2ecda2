package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
)

// recovery is what start-up collects before it decides.
type recovery struct {
	finished map[mta.ID]bool
	entries  map[mta.ID][]entry
	bad      map[mta.ID]error // deferred files that are not whole
	logs     map[mta.ID]bool  // every ID.log
	unlink   []mta.ID
	settle   []*mta.Envelope // reports and forwards
	deferred int
}

// start is the one start-up path (spool.5, START-UP).
func (s *Store) start() error {
	c := &recovery{finished: map[mta.ID]bool{}, entries: map[mta.ID][]entry{}, bad: map[mta.ID]error{}, logs: map[mta.ID]bool{}}
	if err := s.readJournal(c); err != nil {
		return err
	}
	if err := s.syncOwn(); err != nil {
		return err
	}
	if err := s.walkDeferred(c); err != nil {
		return err
	}
	if err := s.readSegments(c); err != nil {
		return err
	}
	if err := s.clear(c); err != nil {
		return err
	}
	if err := s.settleParents(c); err != nil {
		return err
	}
	s.sweep()
	s.o.Log.SpoolRecovered(len(s.msgs), c.deferred, len(s.segs), len(s.j.segs))
	return nil
}

// readJournal makes the journal last, for what start-up is about to trust must not vanish later, and reads it.
func (s *Store) readJournal(c *recovery) error {
	names, err := s.fs.ReadDir(s.l.dir(dirJournal))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if _, ok := segmentName(name); !ok {
			continue
		}
		path := s.l.file(dirJournal, name)
		r, err := openSegment(s.fs, path)
		if errors.Is(err, errBadRecord) {
			s.moveCorrupt(path, name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		err = r.f.Sync()
		if err == nil {
			err = s.readJournalSegment(c, name, r)
		}
		_ = r.f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (s *Store) readJournalSegment(c *recovery, name string, r *segmentReader) error {
	j := &journalSeg{name: name}
	s.j.segs = append(s.j.segs, j)
	for {
		k, b, off, err := r.next()
		if errors.Is(err, errBadRecord) {
			resume, damaged, err := r.damaged()
			if err == nil && damaged {
				s.saveDamage(dirJournal, name, r, r.off, resume)
			} else if err == nil {
				resume, damaged, err = s.journalRemains(name, r)
			}
			if err != nil || !damaged {
				return err
			}
			r.off = resume
			continue
		}
		if err != nil {
			return err
		}
		ref, err := c.note(k, b)
		if err != nil {
			s.saveCorrupt(fmt.Sprintf("%s.%d", name, off), b, err)
			continue
		}
		if ref.id != "" {
			j.refs = append(j.refs, ref)
		}
	}
}

// journalRemains looks for the next good record: behind a hole that no sync had covered they are true all the same.
func (s *Store) journalRemains(name string, r *segmentReader) (resume int64, ok bool, err error) {
	what, end, err := r.remains(true)
	if err != nil {
		return 0, false, err
	}
	if resume, ok, err = r.resume(); err != nil {
		return 0, false, err
	}
	if what == rotten {
		if !ok {
			resume = end
		}
		s.saveDamage(dirJournal, name, r, r.off, resume)
		return resume, true, nil
	}
	if what == torn && !ok {
		s.o.Log.SpoolTorn(s.l.file(dirJournal, name), r.off, end-r.off)
	}
	return resume, ok, nil
}

// note takes one journal record.
func (c *recovery) note(k kind, b []byte) (journalRef, error) {
	switch k {
	case kindFinished:
		id, err := mta.ParseID(string(b))
		if err != nil {
			return journalRef{}, err
		}
		c.finished[id] = true
		return journalRef{id, k}, nil
	case kindResult, kindReported:
		e, err := parseEntry(b)
		if err != nil {
			return journalRef{}, err
		}
		c.entries[e.ID] = append(c.entries[e.ID], e)
		return journalRef{e.ID, k}, nil
	}
	return journalRef{}, nil
}

// syncOwn opens the segments and makes those last that an earlier run of queue-runner wrote: they are read to their end.
func (s *Store) syncOwn() error {
	if err := s.refresh(); err != nil {
		return err
	}
	for _, g := range s.segs {
		if g.r.hdr.Writer == writerQueue {
			if err := g.r.f.Sync(); err != nil {
				return err
			}
		}
	}
	return nil
}

// remember keeps the envelope of what queue-runner made, for settleParents.
func (c *recovery) remember(env *mta.Envelope) {
	if env.Report != nil || env.Expands != nil {
		c.settle = append(c.settle, env)
	}
}

// readSegments reads all segments and registers what is outstanding in them.
func (s *Store) readSegments(c *recovery) error {
	var found []*arrival
	for _, g := range s.sortedSegs() {
		more, err := s.read(g, math.MaxInt)
		if err != nil {
			return fmt.Errorf("%s: %w", s.l.file(dirIncoming, g.name), err)
		}
		found = append(found, more...)
	}
	for _, a := range found { // only now every withdrawal is known
		s.recover(c, a)
	}
	return nil
}

func (s *Store) recover(c *recovery, a *arrival) {
	m := s.msgs[a.id]
	switch {
	case m != nil && m.withdrawn: // its record must not outlive the withdrawal
		a.seg.stray = append(a.seg.stray, a.id)
		s.strays[a.id]++
		return
	case m != nil && (m.spilled || m.seg == nil):
		m.seg, m.off = a.seg, a.off
		a.seg.msgs = append(a.seg.msgs, m)
		if m.stuck {
			a.seg.live++
		}
		return
	case m != nil: // a second try of a report: the later record counts
		m.seg.live--
		m.seg.msgs = slices.DeleteFunc(m.seg.msgs, func(x *Message) bool { return x == m })
		a.seg.stray, m.seg.stray = append(a.seg.stray, a.id), append(m.seg.stray, a.id)
		s.strays[a.id] += 2
	}
	m = &Message{id: a.id, found: true, seg: a.seg, off: a.off, inline: !a.rec.large, files: a.rec.large}
	if c.finished[a.id] {
		m.finished = true
		s.register(m)
		return
	}
	m.learn(a.env)
	for _, e := range c.entries[a.id] {
		m.apply(e, &s.said)
	}
	c.remember(a.env)
	s.register(m)
}

// clear removes what a finished message or a torn spill left in deferred/.
func (s *Store) clear(c *recovery) error {
	for id := range c.logs {
		if m := s.msgs[id]; (m == nil || !m.spilled) && c.bad[id] == nil {
			c.unlink = append(c.unlink, id)
		}
	}
	for id, cause := range c.bad {
		if m := s.msgs[id]; m != nil {
			c.unlink = append(c.unlink, id) // its record in the segment counts
			continue
		}
		if c.logs[id] {
			s.moveCorrupt(s.l.deferredLog(id), string(id)+logSuffix, cause)
		}
		s.moveCorrupt(s.l.deferred(id), string(id), cause)
	}
	slices.Sort(c.unlink)
	for _, id := range slices.Compact(c.unlink) {
		paths := []string{s.l.deferred(id), s.l.deferredLog(id)}
		if c.finished[id] {
			paths = append(paths, s.l.large(id))
		}
		for _, path := range paths {
			if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// settleParents brings parents in step with the reports and forwards that were made for them, from these own words,
// before any of them can be scheduled.
func (s *Store) settleParents(c *recovery) error {
	for _, env := range c.settle {
		s.settleParent(env)
	}
	return s.Flush()
}

func (s *Store) settleParent(env *mta.Envelope) {
	if e := env.Report; e != nil {
		if p := s.parent(e.Parent); p != nil {
			s.settleReport(p, e)
		}
	}
	if e := env.Expands; e != nil {
		p := s.parent(e.Parent)
		if p != nil && e.Rcpt >= 0 && e.Rcpt < len(p.rcpts) && p.rcpts[e.Rcpt].state != rcptExpanded {
			s.expand(p, e.Rcpt, e.Members, e.Tell)
		}
	}
}

func (s *Store) parent(id mta.ID) *Message {
	if p := s.msgs[id]; p != nil && !p.finished && !p.withdrawn && !p.stuck {
		return p
	}
	return nil
}

func (s *Store) settleReport(p *Message, r *mta.Report) {
	about := func(rcpts []int, due func(*rcpt) bool) bool {
		return slices.ContainsFunc(rcpts, func(i int) bool { return i >= 0 && i < len(p.rcpts) && due(&p.rcpts[i]) })
	}
	rcpts := r.Rcpts
	if about(rcpts, func(r *rcpt) bool { return r.state == rcptFailed || r.tell != "" }) ||
		about(r.Delayed, func(r *rcpt) bool { return !r.late && !r.state.settled() }) {
		s.record(p, entry{ID: p.id, Reported: rcpts, Delayed: r.Delayed})
	}
}
