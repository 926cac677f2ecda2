package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// ErrCorrupt says that a message's bytes are not what was accepted.
var ErrCorrupt = errors.New("spool: message is damaged")

// Rcpt is one recipient as it stands now.
type Rcpt struct {
	mta.Recipient
	State  RcptState
	Tries  int
	Next   time.Time   // of a deferred one: when to try again
	Last   mta.Outcome // of a deferred or failed one, and of a success that is to be told of: the last result
	Tell   string      // of a success: the word for it
	Late   bool        // a report has told of its delay
	Member bool        // came out of an alias: it is not resolved as an alias again
	Redo   bool        // its mailbox has the file, but its disk may have lost it: write it anew
}

// RcptState is what is left to do for a recipient.
type RcptState uint8

// The states that a scheduler tells apart.
const (
	ToDo    RcptState = iota // new or deferred: deliver
	Told                     // settled: nothing to do
	Failure                  // failed, and a report is due
	Success                  // delivered or expanded, and a report is due
)

// Loaded is a message with its content, in memory or open. The caller closes it.
type Loaded struct {
	Envelope *mta.Envelope
	Rcpts    []Rcpt
	Hold     string // why it is held now, "" = it is not
	Content  io.ReaderAt
	Size     int64
	file     durable.File
}

// Close gives the content up.
func (l *Loaded) Close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// Load reads a message. ErrCorrupt: its bytes have changed on the disk; it stays where it is.
func (s *Store) Load(m *Message) (*Loaded, error) {
	env, rec, err := s.locate(m)
	if err != nil {
		return nil, err
	}
	out := &Loaded{Envelope: env, Size: rec.size}
	if rec.large {
		if err := s.openLarge(m, rec, out); err != nil {
			return nil, err
		}
	} else {
		out.Content = bytes.NewReader(rec.content)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Rcpts, out.Hold = s.rcpts(m, env), m.hold
	return out, nil
}

// rcpts lists the recipients of the envelope, and behind them the members of aliases.
func (s *Store) rcpts(m *Message, env *mta.Envelope) []Rcpt {
	out := make([]Rcpt, len(m.rcpts))
	for i := range m.rcpts {
		r, o := &m.rcpts[i], &out[i]
		if i < len(env.Rcpts) {
			o.Recipient = env.Rcpts[i]
		} else {
			o.Recipient, o.Member = m.members[i-len(env.Rcpts)], true
		}
		o.Tries, o.Next, o.Redo, o.Tell, o.Late = r.tries, r.next, r.redo, r.tell, r.late
		if r.last != nil {
			o.Last = *r.last
			o.Last.At = r.at
		}
		switch {
		case r.state == rcptFailed:
			o.State = Failure
		case r.state.settled() && r.tell != "":
			o.State = Success
		case r.state.settled():
			o.State = Told
		}
	}
	return out
}

// locate returns the envelope and content of a message from memory, its segment or its deferred file.
func (s *Store) locate(m *Message) (*mta.Envelope, messageRecord, error) {
	s.mu.Lock()
	c, g, off, spilled := m.cached, m.seg, m.off, m.spilled
	m.cached = nil
	s.mu.Unlock()
	switch {
	case c != nil:
		return c.env, c.rec, nil
	case spilled:
		f, err := s.fs.Open(s.l.deferred(m.id))
		if err != nil {
			return nil, messageRecord{}, err
		}
		defer f.Close()
		env, rec, err := readDeferred(f)
		if errors.Is(err, errBadDeferred) {
			err = fmt.Errorf("%s: %w", s.l.deferred(m.id), ErrCorrupt)
		}
		return env, rec, err
	case g != nil:
		return s.readPlace(g, off)
	}
	return nil, messageRecord{}, fmt.Errorf("%s: %w", m.id, mta.ErrBadID)
}

func (s *Store) readPlace(g *segState, off int64) (*mta.Envelope, messageRecord, error) {
	path := s.l.file(dirIncoming, g.name)
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, messageRecord{}, err
	}
	defer f.Close()
	r := &segmentReader{f: f, hdr: g.r.hdr, off: off, ahead: readOne}
	_, b, _, err := r.next()
	var rec messageRecord
	if err == nil {
		rec, err = parseMessage(b)
	}
	env := new(mta.Envelope)
	if err == nil {
		err = json.Unmarshal(rec.envelope, env)
	}
	if err != nil {
		return nil, messageRecord{}, fmt.Errorf("%s at %d: %w: %w", path, off, ErrCorrupt, err)
	}
	return env, rec, nil
}

// openLarge opens large/ID and, once a run, checks that it is what was accepted.
func (s *Store) openLarge(m *Message, rec messageRecord, out *Loaded) error {
	path := s.l.large(m.id)
	f, err := s.fs.Open(path)
	if err != nil {
		return err
	}
	out.file, out.Content = f, io.NewSectionReader(f, 0, rec.size)
	s.mu.Lock()
	checked := m.checked
	s.mu.Unlock()
	if checked {
		return nil
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, rec.size))
	if err == nil && (n != rec.size || sum.Sum32() != rec.sum) {
		err = fmt.Errorf("%s: %w", path, ErrCorrupt)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	s.mu.Lock()
	m.checked = true
	s.mu.Unlock()
	return nil
}
