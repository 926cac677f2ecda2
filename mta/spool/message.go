package spool

import (
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// rcptState is where a recipient stands.
type rcptState uint8

const (
	rcptNew       rcptState = iota // not tried
	rcptDeferred                   // tried, and recorded so
	rcptLocal                      // in its mailbox; known to memory alone until a checkpoint
	rcptDelivered                  // recorded
	rcptFailed                     // recorded; the sender is to be told
	rcptReported                   // failed; the sender was told, or is not to be
	rcptExpanded                   // an alias; its members stand behind the other recipients
)

func (st rcptState) settled() bool {
	return st == rcptLocal || st == rcptDelivered || st == rcptReported || st == rcptExpanded
}

type rcpt struct {
	state rcptState
	n     int // number of the last result
	tries int
	next  time.Time
	dev   uint64       // filesystem of the mailbox, while rcptLocal
	last  *mta.Outcome // of a recipient that is not settled: shared, and without its time
	at    time.Time    // ... which is this
	tell  string       // delivered or expanded: a report that says so is due
	quiet bool
	late  bool // a report has told of its delay
	base  int  // of an expansion: index of its first member
	count int  // ... and how many
	redo  bool
}

// settled says that nothing is left to do for the recipient.
func (r *rcpt) settled() bool { return r.state.settled() && r.tell == "" }

// Message is what the store remembers of a message in the spool. Its fields are the store's; whoever holds one passes
// it back to the store's methods.
type Message struct {
	id    mta.ID
	found bool // it was in the spool at start-up

	seg    *segState // the segment that holds its record, nil once that is unlinked
	off    int64     // of the record
	inline bool      // content in the record (or in the deferred file), not in large/

	known     bool // its envelope was read: rcpts is complete
	timed     bool // ... and says when to release it, or by when to deliver it
	rcpts     []rcpt
	members   []mta.Recipient // of expansions, rcpts[len(rcpts)-len(members):]
	open      int             // recipients that are not settled
	spilled   bool            // deferred/ab/ID and ID.log are there
	files     bool            // something of it may be in deferred/ or large/
	logSize   int64
	logBehind bool // ID.log lacks something that the journal has
	withdrawn bool
	finished  bool
	stuck     bool // unreadable or of a newer version: left alone
	checked   bool // the checksum of large/ID was found good
	hold      string
	holds     int // number of the last word on hold, 0 = it is the envelope's
	cached    *cached
}

// cached is what reading a message's record left in memory for its first attempt.
type cached struct {
	env *mta.Envelope
	rec messageRecord
}

// ID returns the message's id.
func (m *Message) ID() mta.ID { return m.id }

// Found says that the message was in the spool when queue-runner started: a delivery of it may have been made by an
// earlier run that could not write that down.
func (m *Message) Found() bool { return m.found }

// Due returns when there is something to do for a message of whose recipients each was tried and is to be tried again:
// at the first of these times, or at notice, when senders are told of a delay, where one was not told of; a zero notice
// is never. The zero time says that more has to be known: a recipient was never tried or has failed, the message is held,
// or its envelope sets times of its own.
func (s *Store) Due(m *Message, notice time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.known || m.timed || m.hold != "" {
		return time.Time{}
	}
	var first time.Time
	for i := range m.rcpts {
		r := &m.rcpts[i]
		if r.settled() {
			continue
		}
		if r.state != rcptDeferred {
			return time.Time{}
		}
		at := r.next
		if !r.late && !notice.IsZero() && notice.Before(at) {
			at = notice
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// settled says that nothing is left to do for the message.
func (m *Message) settled() bool { return m.known && m.open == 0 || m.withdrawn }

// grow makes room for n recipients in all.
func (m *Message) grow(n int) {
	for len(m.rcpts) < n {
		m.rcpts = append(m.rcpts, rcpt{})
		m.open++
	}
}

func (m *Message) set(i int, st rcptState) { m.setTell(i, st, m.rcpts[i].tell) }

func (m *Message) setTell(i int, st rcptState, tell string) {
	r := &m.rcpts[i]
	was := r.settled()
	r.state, r.tell = st, tell
	if r.settled() != was {
		if was {
			m.open++
		} else {
			m.open--
		}
	}
	if r.settled() {
		r.last = nil
	}
}

// apply makes an entry part of what is known; false when it is older than what is known, or makes no sense here.
func (m *Message) apply(e entry, said *sayings) bool {
	switch {
	case e.isReport():
		m.told(e)
		return true
	case e.Hold != nil:
		if e.N <= m.holds {
			return false
		}
		m.hold, m.holds = *e.Hold, e.N
		return true
	}
	if e.R >= len(m.rcpts) || e.N <= m.rcpts[e.R].n || m.rcpts[e.R].state == rcptExpanded {
		return false
	}
	r := &m.rcpts[e.R]
	switch e.State {
	case stateExpanded:
		if e.Base != len(m.rcpts) {
			return false
		}
		r.n, r.base, r.count = e.N, e.Base, len(e.Members)
		m.setTell(e.R, rcptExpanded, e.Tell)
		m.members = append(m.members, e.Members...)
		m.grow(e.Base + len(e.Members))
		return true
	case mta.Delivered.String():
		m.setTell(e.R, rcptDelivered, e.Tell)
	case mta.Failed.String():
		m.set(e.R, rcptFailed)
		if e.Quiet {
			m.set(e.R, rcptReported)
		}
	default:
		m.set(e.R, rcptDeferred)
	}
	r.n, r.tries, r.next, r.quiet = e.N, e.Tries, e.Next, e.Quiet
	if !r.settled() {
		r.last, r.at = said.share(e.outcome()), e.At
	}
	return true
}

// told notes what a report tells of.
func (m *Message) told(e entry) {
	for _, i := range e.Reported {
		switch {
		case i >= len(m.rcpts):
		case m.rcpts[i].state == rcptFailed:
			m.set(i, rcptReported)
		case m.rcpts[i].state.settled():
			m.setTell(i, m.rcpts[i].state, "")
		}
	}
	for _, i := range e.Delayed {
		if i < len(m.rcpts) {
			m.rcpts[i].late = true
		}
	}
}

// entries are the statements that make up what is known of the message, for its ID.log: expansions first, for other
// statements may be about their members. A local success is not among them: it is in memory alone.
func (m *Message) entries() []entry {
	var out []entry
	var reported, late []int
	if m.holds > 0 {
		out = append(out, entry{ID: m.id, N: m.holds, Hold: &m.hold})
	}
	for _, i := range m.expansions() {
		r := &m.rcpts[i]
		from := r.base - (len(m.rcpts) - len(m.members))
		out = append(out, entry{ID: m.id, R: i, N: r.n, State: stateExpanded, Tell: r.tell, Base: r.base, Members: m.members[from : from+r.count]})
	}
	for i := range m.rcpts {
		r := &m.rcpts[i]
		e := entry{ID: m.id, R: i, N: r.n, Tries: r.tries, Next: r.next, Quiet: r.quiet, Tell: r.tell}
		if r.late && (r.state == rcptNew || r.state == rcptDeferred) {
			late = append(late, i)
		}
		switch r.state {
		case rcptDeferred:
			e.State = mta.Deferred.String()
		case rcptDelivered:
			e.State = mta.Delivered.String()
		case rcptFailed:
			e.State = mta.Failed.String()
		case rcptReported:
			e.State = mta.Failed.String()
			if !r.quiet {
				reported = append(reported, i)
			}
		case rcptExpanded:
			if r.count > 0 {
				continue
			}
			e.State, e.Base = stateExpanded, len(m.rcpts)
		default:
			continue
		}
		e.fill(r.last, r.at)
		out = append(out, e)
	}
	if len(reported)+len(late) > 0 {
		out = append(out, entry{ID: m.id, Reported: reported, Delayed: late})
	}
	return out
}

// expansions are the recipients that became others, in the order of these.
func (m *Message) expansions() []int {
	var out []int
	for i := range m.rcpts {
		if m.rcpts[i].state == rcptExpanded && m.rcpts[i].count > 0 {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b int) int { return m.rcpts[a].base - m.rcpts[b].base })
	return out
}

func (e *entry) fill(o *mta.Outcome, at time.Time) {
	if o != nil {
		e.Code, e.Enhanced, e.Text, e.Host, e.Addr, e.TLS, e.At = o.Code, o.Enhanced, o.Text, o.Host, o.Addr, o.TLS, at
	}
}
