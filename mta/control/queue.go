package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// Spool is what control needs of spool.Store.
type Spool interface {
	Outstanding() []*spool.Message
	Find(id mta.ID) *spool.Message
	View(m *spool.Message) (*spool.View, error)
	Attempts(m *spool.Message) ([]spool.Attempt, error)
	Load(m *spool.Message) (*spool.Loaded, error)
	Flush() error
}

// Schedule is what control needs of runner.Runner. All end with an error soon after ctx does.
type Schedule interface {
	// States tells where messages stand, in their order.
	States(ctx context.Context, ms []*spool.Message) ([]State, error)
	// Change does something to a message; it lasts once the spool is flushed. After an error nothing was done, and
	// nothing will be; ErrBusy and spool.ErrGone are among them.
	Change(ctx context.Context, m *spool.Message, c Change) error
	// Destinations tells how the destinations stand that have mail, or had some within the last minutes, by name.
	Destinations(ctx context.Context) ([]Destination, error)
}

// Where a recipient stands.
const (
	rcptWaiting   = "waiting"
	rcptFailed    = "failed"
	rcptDelivered = "delivered"
	rcptDone      = "done"
)

// batch is how many messages the schedule is asked about at once, ahead how many of them are held at once, for each may have
// thousands of recipients, and readers how many are read at once.
const (
	batch   = 256
	ahead   = 16
	readers = 4
)

// list passes the messages that a filter takes to yield, oldest first, until that returns an error. They are read when
// their turn comes, so that the list takes no memory but the messages' addresses and a few of them.
func (s *Server) list(ctx context.Context, f Filter, yield func(*Message) error) error {
	all := s.spool.Outstanding()
	for len(all) > 0 {
		some := all[:min(batch, len(all))]
		all = all[len(some):]
		states, err := s.states(ctx, some)
		if err != nil {
			return err
		}
		for len(some) > 0 {
			n := min(ahead, len(some))
			if err := s.listSome(ctx, some[:n], states[:n], f, yield); err != nil {
				return err
			}
			some, states = some[n:], states[n:]
		}
	}
	return nil
}

func (s *Server) listSome(ctx context.Context, ms []*spool.Message, states []State, f Filter, yield func(*Message) error) error {
	described := s.describeAll(ctx, ms, states)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := time.Now()
	for _, x := range described {
		if x == nil || !f.accepts(x, now) {
			continue
		}
		if err := yield(x); err != nil {
			return err
		}
	}
	return nil
}

// describeAll reads messages, in their order. A long queue is mostly read from the disk, where several reads at once take little
// longer than one.
func (s *Server) describeAll(ctx context.Context, ms []*spool.Message, states []State) []*Message {
	out := make([]*Message, len(ms))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(readers, len(ms)) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ms) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				out[i] = s.describe(ms[i], states[i], false)
			}
		})
	}
	wait.Wait()
	return out
}

func (s *Server) states(ctx context.Context, ms []*spool.Message) ([]State, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	states, err := s.schedule.States(ctx, ms)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoTime
	}
	return states, err
}

var errNoTime = errors.New("queue-runner has no time for answers yet: it may still be looking through the spool after its start")

// describe puts together what the spool and the schedule know; nil for a message that is gone.
func (s *Server) describe(m *spool.Message, st State, whole bool) *Message {
	v, err := s.spool.View(m)
	if errors.Is(err, spool.ErrGone) {
		return nil
	}
	x := &Message{ID: m.ID(), Arrived: m.ID().Time(), Status: st.Status, Next: st.Due, Site: st.Site, Why: st.Why}
	if x.Status == "" {
		x.Status = StatusNew
	}
	if err != nil {
		x.Error = err.Error()
		return x
	}
	e := v.Envelope
	x.Arrived, x.Sender, x.Size, x.Role, x.Login, x.Client = e.Arrived, e.Sender.String(), e.Size, e.Role, e.Login, e.Origin.Client
	for i := range v.Rcpts {
		if r := recipient(&v.Rcpts[i]); whole || r.State != rcptDone {
			x.Rcpts = append(x.Rcpts, r)
		}
	}
	x.explain(v, time.Now())
	return x
}

func recipient(r *spool.Rcpt) Rcpt {
	out := Rcpt{Address: r.Address.String(), State: rcptWaiting, Tries: r.Tries, Next: r.Next, Member: r.Member}
	switch r.State {
	case spool.Failure:
		out.State = rcptFailed
	case spool.Success:
		out.State = rcptDelivered
	case spool.Told:
		out.State = rcptDone
	}
	if !r.Last.At.IsZero() {
		out.Reply, out.Host = r.Last.Reply().String(), r.Last.Host
	}
	return out
}

// explain says why the message waits.
func (x *Message) explain(v *spool.View, now time.Time) {
	switch {
	case v.Hold != "" && x.Status != StatusActive:
		x.Status, x.Why, x.Next = StatusHeld, v.Hold, time.Time{}
	case now.Before(v.Envelope.ReleaseAt) && x.Status != StatusActive:
		x.Status, x.Why, x.Next = StatusLater, "its sender wants it to leave later", v.Envelope.ReleaseAt
	case x.Why != "" || x.Status == StatusActive:
	default:
		for i := range x.Rcpts {
			if r := &x.Rcpts[i]; r.State == rcptWaiting && r.Reply != "" {
				x.Why = r.Reply
				if r.Host != "" {
					x.Why = r.Host + " said: " + x.Why
				}
				return
			}
		}
	}
}

// show returns all that is known of a message; spool.ErrGone when there is none.
func (s *Server) show(ctx context.Context, id mta.ID) (*Detail, error) {
	m := s.spool.Find(id)
	if m == nil {
		return nil, spool.ErrGone
	}
	states, err := s.states(ctx, []*spool.Message{m})
	if err != nil {
		return nil, err
	}
	x := s.describe(m, states[0], true)
	if x == nil {
		return nil, spool.ErrGone
	}
	d := &Detail{Message: *x}
	if v, err := s.spool.View(m); err == nil {
		d.Envelope, err = json.Marshal(v.Envelope)
		if err != nil {
			return nil, err
		}
	}
	list, err := s.spool.Attempts(m)
	if err != nil && d.Error == "" {
		d.Error = err.Error()
	}
	for _, a := range list {
		at := Attempt{At: a.Outcome.At, Tries: a.Tries, State: a.State, Host: a.Outcome.Host, Addr: a.Outcome.Addr, TLS: a.Outcome.TLS}
		if a.Outcome.Code != 0 || a.Outcome.Text != "" {
			at.Reply = a.Outcome.Reply().String()
		}
		if a.Rcpt < len(d.Rcpts) {
			at.Address = d.Rcpts[a.Rcpt].Address
		}
		d.Attempts = append(d.Attempts, at)
	}
	return d, nil
}

// content returns a message as its recipients get it.
func (s *Server) content(id mta.ID) (io.Reader, func(), error) {
	m := s.spool.Find(id)
	if m == nil {
		return nil, nil, spool.ErrGone
	}
	l, err := s.spool.Load(m)
	if err != nil {
		return nil, nil, err
	}
	e := l.Envelope
	return message.NewReader(e.Prepend, e.Cut, l.Content, l.Size), l.Close, nil
}
