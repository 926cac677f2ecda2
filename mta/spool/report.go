package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrNotNow says that a report or forward cannot be made before more of an earlier try of it has been reclaimed.
var ErrNotNow = errors.New("spool: an earlier try is not cleared away yet")

// Build writes the content of a new message and returns its envelope.
type Build func(id mta.ID, content io.Writer) (*mta.Envelope, error)

// Telling are the recipients that a report tells of, by their numbers: those in Failure, those in Success, and those still
// to do whose delay has not been told of yet.
type Telling struct{ Failed, Succeeded, Delayed []int }

// id names the report: each recipient fails, succeeds and is late once at most, so no two reports have the same name.
func (t Telling) id(parent mta.ID) mta.ID {
	switch {
	case len(t.Failed) > 0:
		return parent.Child('F', t.Failed[0])
	case len(t.Delayed) > 0:
		return parent.Child('D', t.Delayed[0])
	}
	return parent.Child('S', t.Succeeded[0])
}

// Report makes a report about recipients of m, at least one, and commits it. The order is what keeps everything
// reported once: what became of them lasts, then the report, then the note that they were reported; only then is the
// report returned, to be scheduled. Where the last step fails the report is returned beside the error: it may be
// scheduled once Flush succeeds.
func (s *Store) Report(m *Message, t Telling, build Build) (*Message, error) {
	if err := s.Flush(); err != nil {
		return nil, err
	}
	id, rcpts := t.id(m.id), slices.Concat(t.Failed, t.Succeeded)
	child, err := s.make(id, func(w io.Writer) (*mta.Envelope, error) {
		env, err := build(id, w)
		if err == nil {
			env.Report = &mta.Report{Parent: m.id, Rcpts: rcpts, Delayed: t.Delayed}
		}
		return env, err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.record(m, entry{ID: m.id, Reported: rcpts, Delayed: t.Delayed})
	s.mu.Unlock()
	return child, s.Flush()
}

// Expand records that recipient i is an alias: members become recipients of the same message, behind the others.
// Members off this host become a message of their own, which forward builds; nil when there are none. The expansion
// lasts when Expand returns without an error, so that no later edit of the aliases gives a member another number. With
// tell the sender is to be told of it, in this word.
func (s *Store) Expand(m *Message, i int, members []mta.Recipient, tell string, forward Build) (*Message, error) {
	var child *Message
	if forward != nil {
		id := m.id.Child('X', i)
		var err error
		child, err = s.make(id, func(w io.Writer) (*mta.Envelope, error) {
			env, err := forward(id, w)
			if err == nil {
				env.Expands = &mta.Expansion{Parent: m.id, Rcpt: i, Members: members, Tell: tell}
			}
			return env, err
		})
		if err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.expand(m, i, members, tell)
	s.mu.Unlock()
	return child, s.Flush()
}

func (s *Store) expand(m *Message, i int, members []mta.Recipient, tell string) {
	s.record(m, entry{ID: m.id, R: i, N: m.rcpts[i].n + 1, State: stateExpanded, Tell: tell, Base: len(m.rcpts), Members: members})
}

// make commits a message of queue-runner's own.
func (s *Store) make(id mta.ID, build func(io.Writer) (*mta.Envelope, error)) (*Message, error) {
	if err := s.readOwn(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	busy := s.msgs[id] != nil || s.strays[id] > 0 || s.j.mentions(id)
	if !busy {
		s.making++
	}
	s.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("%s: %w", id, ErrNotNow)
	}
	m, err := s.commitOwn(id, build)
	s.mu.Lock()
	s.making--
	s.unread = s.unread || err != nil
	s.mu.Unlock()
	return m, err
}

// readOwn learns, after a report or forward could not be made, what our own segments say of it: a second try under the
// same id would be withdrawn by what withdrew the first.
func (s *Store) readOwn() error {
	s.tail.Lock()
	defer s.tail.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unread {
		return nil
	}
	if err := s.refresh(); err != nil {
		return err
	}
	for _, g := range s.sortedSegs() {
		if !g.own || g.complete {
			continue
		}
		found, err := s.read(g, math.MaxInt)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		for _, a := range found {
			if m := s.arrive(a); m != nil {
				s.late = append(s.late, m)
			}
		}
	}
	s.unread = false
	return nil
}

func (s *Store) commitOwn(id mta.ID, build func(io.Writer) (*mta.Envelope, error)) (*Message, error) {
	in := s.own.begin(id)
	env, err := build(in)
	if err != nil {
		in.Abort()
		return nil, err
	}
	large := in.f != nil // whatever its size: see inMemory
	at, err := in.commit(env)
	if err != nil {
		return nil, err
	}
	s.tail.Lock()
	defer s.tail.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.segs[at.file] == nil {
		if err := s.openSegment(at.file); err != nil {
			s.adopt[id] = true
			s.strays[id]++
			return nil, err // it is committed: who next reads the segment settles its parent
		}
	}
	m := &Message{id: id, seg: s.segs[at.file], off: at.off, inline: !large, files: large}
	m.learn(env)
	s.register(m)
	return m, nil
}
