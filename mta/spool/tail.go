package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// segState is what queue-runner knows of one segment in incoming/. Store.mu guards it, save while a caller of read has
// Store.tail.
type segState struct {
	name     string
	r        *segmentReader
	own      bool       // written by this run of queue-runner: its messages are registered by who wrote them
	toEnd    bool       // read beyond the last commit record
	gone     bool       // nobody writes it any more
	complete bool       // read to its end
	keep     bool       // holds something that only a newer program can read, or that could not be copied to corrupt/
	pending  []*arrival // behind the last commit record
	// stray are messages that will not be delivered from here: never committed. While the segment is there, records
	// about them are needed, and about those that it withdraws: no other message may have their ids.
	stray     []mta.ID
	withdrawn []mta.ID
	live      int // messages that are neither finished nor spilled
	msgs      []*Message
	large     []mta.ID // every large file that a record names, committed or not
}

// arrival is a message record as it was read.
type arrival struct {
	seg *segState
	off int64
	id  mta.ID
	env *mta.Envelope
	rec messageRecord
}

// refresh finds the segments that are new in incoming/.
func (s *Store) refresh() error {
	names, err := s.fs.ReadDir(s.l.dir(dirIncoming))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		base, ok := segmentName(name)
		if !ok || s.segs[name] != nil || s.badSegs[name] {
			continue
		}
		if _, err := mta.ParseID(base); err != nil {
			continue
		}
		if err := s.openSegment(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) openSegment(name string) error {
	path := s.l.file(dirIncoming, name)
	r, err := openSegment(s.fs, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, mta.ErrNewer), errors.Is(err, durable.ErrNoFile): // no writer makes the latter: it must not stop the others
		s.badSegs[name] = true
		s.o.Log.SpoolSkipped(path, err)
		return nil
	case errors.Is(err, errBadRecord):
		s.badSegs[name] = true // its name came after its header was synced: the disk has changed it
		s.moveCorrupt(path, name, err)
		return nil
	case err != nil:
		return err
	}
	own := r.hdr.Run == s.own.who.run
	s.segs[name] = &segState{
		name: name, r: r, own: own,
		toEnd: !own && (r.hdr.Boot != s.o.Boot || r.hdr.Writer == writerQueue),
	}
	return nil
}

// read takes the next records of g, until about max messages have been released for delivery or there is nothing more
// to read now.
func (s *Store) read(g *segState, max int) (out []*arrival, err error) {
	for len(out) < max && !g.complete {
		k, b, off, err := g.r.next()
		if errors.Is(err, errBadRecord) {
			again, err := s.readEnd(g)
			if err != nil {
				return out, err
			}
			if again {
				continue
			}
			if g.complete {
				out = append(out, s.leftover(g)...)
			}
			break
		}
		if err != nil {
			return out, err
		}
		switch k {
		case kindMessage:
			s.readMessage(g, off, b)
		case kindCommit:
			out = append(out, s.release(g, commitOffset(b))...)
		case kindWithdrawn:
			s.readWithdrawn(g, b)
		case kindClose:
			g.gone = true
			g.complete = true
			out = append(out, s.leftover(g)...)
		}
	}
	if g.complete && g.r.f != nil {
		_ = g.r.f.Close()
		g.r.f, g.r.buf = nil, nil
	}
	return out, nil
}

// readEnd decides what the lack of a good record means: not yet there, damage, or the end.
func (s *Store) readEnd(g *segState) (again bool, err error) {
	if !g.gone {
		err := g.r.f.Lock()
		if errors.Is(err, durable.ErrLocked) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		g.gone = true
		return true, nil // what was written before the lock was given up is there to read now
	}
	resume, damaged, err := g.r.damaged()
	if err != nil {
		return false, err
	}
	if damaged {
		g.keep = !s.saveDamage(dirIncoming, g.name, g.r, g.r.off, resume) || g.keep
		g.r.off = resume
		return true, nil
	}
	return s.readRemains(g)
}

// readRemains deals with what stands behind all that is good or proven. What is rotten may be, or may have been followed
// by, the commit record of the messages before it: if these are not delivered, they are kept along with it.
func (s *Store) readRemains(g *segState) (again bool, err error) {
	what, end, err := g.r.remains(g.toEnd)
	if err != nil {
		return false, err
	}
	switch what {
	case rotten:
		if resume, ok, err := g.r.resume(); err != nil {
			return false, err
		} else if ok {
			end = resume
		}
		from := g.r.off
		if !g.toEnd && len(g.pending) > 0 {
			from = g.pending[0].off
		}
		g.keep = !s.saveDamage(dirIncoming, g.name, g.r, from, end) || g.keep
		g.r.off = end
		return true, nil
	case torn:
		s.o.Log.SpoolTorn(s.l.file(dirIncoming, g.name), g.r.off, end-g.r.off)
	}
	g.complete = true
	return false, nil
}

// release gives out the pending messages that a sync has covered.
func (s *Store) release(g *segState, covered int64) []*arrival {
	n := 0
	for n < len(g.pending) && g.pending[n].off < covered {
		s.unstray(g.pending[n].id)
		n++
	}
	out := g.pending[:n:n]
	g.pending = g.pending[n:]
	return out
}

// leftover is what stands behind the last commit record of a segment that was read to its end.
func (s *Store) leftover(g *segState) []*arrival {
	if g.toEnd {
		return s.release(g, math.MaxInt64)
	}
	for _, a := range g.pending {
		g.stray = append(g.stray, a.id)
	}
	g.pending = nil
	return nil
}

// unstray forgets one place where an uncommitted record about id stands.
func (s *Store) unstray(id mta.ID) {
	if s.strays[id]--; s.strays[id] <= 0 {
		delete(s.strays, id)
	}
}

func (s *Store) readMessage(g *segState, off int64, b []byte) {
	rec, err := parseMessage(b)
	if err == nil {
		env := new(mta.Envelope)
		if err = json.Unmarshal(rec.envelope, env); err == nil && (rec.size != env.Size) {
			err = fmt.Errorf("content of %d octets, envelope says %d", rec.size, env.Size)
		}
		if err == nil {
			rec.envelope, rec.content = nil, slices.Clone(rec.content)
			if rec.large {
				g.large = append(g.large, env.ID)
			}
			g.pending = append(g.pending, &arrival{g, off, env.ID, env, rec})
			s.strays[env.ID]++
			return
		}
	}
	if errors.Is(err, mta.ErrNewer) {
		g.keep = true
		s.o.Log.SpoolSkipped(fmt.Sprintf("%s at %d", g.name, off), err)
		return
	}
	g.keep = !s.saveCorrupt(fmt.Sprintf("%s.%d", g.name, off), b, err) || g.keep
}

func (s *Store) readWithdrawn(g *segState, b []byte) {
	id, err := mta.ParseID(string(b))
	if err != nil {
		s.saveCorrupt(fmt.Sprintf("%s.%d", g.name, g.r.off), b, err)
		return
	}
	g.withdrawn = append(g.withdrawn, id)
	s.strays[id]++
	if s.msgs[id] == nil {
		m := &Message{id: id, withdrawn: true}
		s.msgs[id] = m
		s.settle(m)
	}
}
