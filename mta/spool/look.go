package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrGone says that nothing is left to do for a message: it is not in the queue any more.
var ErrGone = errors.New("spool: no such message")

// View is a message without its content, as it stands at one moment.
type View struct {
	Envelope *mta.Envelope // not to be changed
	Rcpts    []Rcpt        // members of aliases behind those of the envelope
	Hold     string        // why it is held, "" = it is not
}

// Attempt is what is known of one earlier try for a recipient.
type Attempt struct {
	Rcpt    int // its number
	Tries   int // how many there were with this one
	State   string
	Outcome mta.Outcome
	Next    time.Time // of a deferral: when the next was to be
}

// Find returns a message in the queue by its id; nil when there is none.
func (s *Store) Find(id mta.ID) *Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.msgs[id]; m != nil && m.queued() {
		return m
	}
	return nil
}

// queued says that something is left to do for the message.
func (m *Message) queued() bool { return !m.finished && !m.stuck && !m.settled() }

// Unsettled returns the numbers of the recipients that something is left to do for, even where the message cannot be read.
func (s *Store) Unsettled(m *Message) (out []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range m.rcpts {
		if !m.rcpts[i].settled() {
			out = append(out, i)
		}
	}
	return out
}

// View reads what is known of a message, without its content and beside all that is being done about it. ErrGone:
// nothing is left to do for it.
func (s *Store) View(m *Message) (*View, error) {
	for try := 0; ; try++ {
		env, err := s.glance(m)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && try < 3 {
				continue // it has just moved
			}
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return &View{Envelope: env, Rcpts: s.rcpts(m, env), Hold: m.hold}, nil
	}
}

func (s *Store) glance(m *Message) (*mta.Envelope, error) {
	s.mu.Lock()
	c, g, off, spilled, queued := m.cached, m.seg, m.off, m.spilled, m.queued()
	s.mu.Unlock()
	switch {
	case !queued:
		return nil, fmt.Errorf("%s: %w", m.id, ErrGone)
	case c != nil:
		return c.env, nil
	case spilled:
		return s.deferredEnvelope(m.id)
	case g != nil:
		env, _, err := s.readPlace(g, off)
		return env, err
	}
	return nil, fmt.Errorf("%s: %w", m.id, ErrGone)
}

// tailSize is what is read of a deferred file's end: most envelopes are in it.
const tailSize = 4 << 10

// deferredEnvelope reads the envelope of a deferred file alone; the checksum, which is over all of it, is for Load.
func (s *Store) deferredEnvelope(id mta.ID) (*mta.Envelope, error) {
	path := s.l.deferred(id)
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, max(footerSize, min(size, tailSize)))
	if _, err := f.ReadAt(b, max(0, size-int64(len(b)))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	ft, err := parseFooter(b[len(b)-footerSize:], size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	}
	if end := len(b) - footerSize; int64(end) >= ft.envelope {
		b = b[end-int(ft.envelope) : end]
	} else {
		b = make([]byte, ft.envelope)
		if _, err := f.ReadAt(b, ft.content); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	env := new(mta.Envelope)
	if err := json.Unmarshal(b, env); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	}
	return env, nil
}

// Attempts returns the earlier tries for a message that are still known, in their order. Of one that has left its
// segment these are all since then, until its log was rewritten with the last one of each recipient; of another one,
// the last one of each recipient that is not done.
func (s *Store) Attempts(m *Message) ([]Attempt, error) {
	s.mu.Lock()
	spilled, b := m.spilled, []byte(nil)
	if !spilled {
		b = logBytes(m)
	}
	s.mu.Unlock()
	if spilled {
		var err error
		if b, err = s.logOf(m.id); err != nil {
			return nil, err
		}
	}
	var out []Attempt
	for line := range bytes.Lines(b) {
		e, err := parseEntry(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			break // torn
		}
		if e.isReport() || e.Hold != nil || e.State == stateExpanded {
			continue
		}
		out = append(out, Attempt{Rcpt: e.R, Tries: e.Tries, State: e.State, Outcome: e.outcome(), Next: e.Next})
	}
	return out, nil
}

func (s *Store) logOf(id mta.ID) ([]byte, error) {
	f, err := s.fs.Open(s.l.deferredLog(id))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, maxPayload))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}
