package runner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// order is what an operator wants done about a message. Whoever visits the message next does it, before anything else,
// so that nobody else is at work on its recipients; its asker may give it up until then.
type order struct {
	control.Change
	taken atomic.Bool // by the visit, or by the asker who gives it up
	done  chan error
}

// Change implements control.Schedule. What is done lasts once the spool is flushed.
func (r *Runner) Change(ctx context.Context, m *spool.Message, c control.Change) error {
	o := &order{Change: c, done: make(chan error, 1)}
	var refused error
	if err := r.ask(ctx, func(s *schedule) { refused = s.accept(m, o) }); err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	late := control.ErrBusy
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
	case <-r.ended:
		late = ErrEnded
	}
	if o.taken.CompareAndSwap(false, true) {
		return late
	}
	return <-o.done
}

// accept takes an order in. The message is visited as soon as nothing is under way for it; what only waits for its turn
// at a site does not wait any longer.
func (s *schedule) accept(m *spool.Message, o *order) error {
	it := s.items[m]
	switch prior := s.orders[it]; {
	case s.stopping:
		return ErrEnded
	case it == nil, prior != nil && !prior.taken.Load():
		return control.ErrBusy
	}
	s.orders[it] = o
	switch {
	case it.index >= 0:
		s.wait.hasten(it, time.Time{}) // before all others
	case it.round != nil:
		s.withdraw(it, time.Now())
	}
	return nil
}

// reopen lets a dead site be tried now: the operator wants it. One command, for however many messages, has it tried once.
func (s *schedule) reopen(x *site, order any, now time.Time) {
	if x.closed(now) && (order == nil || order != x.order) {
		x.order = order
		x.former, x.until = x.until, now
		s.graves.bury(x)
	}
}

// withdraw takes what waits for its turn out of line.
func (s *schedule) withdraw(it *item, now time.Time) {
	n := 0
	for _, x := range s.sites {
		n += x.withdraw(it)
	}
	if n == 0 {
		return
	}
	s.countQueued(-n)
	it.round.tally.wait(now)
	if it.round.left -= n; it.round.left == 0 {
		s.roundOver(it)
	}
}

// withdraw drops an item's transactions that wait here, and returns how many there were. The empty batch stays in line.
func (x *site) withdraw(it *item) int {
	b := x.batch[it]
	if b == nil {
		return 0
	}
	n := len(b.groups)
	b.groups = nil
	delete(x.batch, it)
	x.queued -= n
	return n
}

// ordered says that an item that comes to rest has an order to be done. Where nothing is left of the message, that comes
// too late.
func (s *schedule) ordered(it *item, over bool) bool {
	o := s.orders[it]
	if o == nil || !over {
		return o != nil
	}
	delete(s.orders, it)
	if o.taken.CompareAndSwap(false, true) {
		o.done <- spool.ErrGone
	}
	return false
}

// takeOrder returns the order for an item that is about to be visited, nil when there is none.
func (s *schedule) takeOrder(it *item) *order {
	o := s.orders[it]
	delete(s.orders, it)
	return o
}

// obeyed is what came of an order.
type obeyed struct {
	force    bool // all recipients are to be tried now
	order    any  // ... as this command wants it
	gone     bool // nothing is left of the message
	unsynced bool // what was done does not last yet: nothing may follow from it
}

// obey does what an operator wants.
func (w *worker) obey(ctx context.Context, m *spool.Message, o *order) (r obeyed) {
	if o == nil || !o.taken.CompareAndSwap(false, true) {
		return r
	}
	err := w.do(ctx, m, o.Change)
	if errors.Is(err, errUnsynced) { // the asker's own flush will say so
		r.unsynced, err = true, nil
	}
	if err == nil {
		w.log.QueueOrdered(m.ID(), o.Op, o.By, o.To, o.Reason)
	}
	r.gone = len(w.store.Unsettled(m)) == 0
	if o.Op == control.Retry && err == nil {
		r.force, r.order = true, o.Order
	}
	o.done <- err
	return r
}

// errUnsynced says that something is done in memory and does not last yet.
var errUnsynced = errors.New("not written down yet")

func (w *worker) do(ctx context.Context, m *spool.Message, c control.Change) error {
	if c.Op == control.Remove {
		return w.remove(m, c)
	}
	view, err := w.store.View(m)
	if err != nil {
		return err
	}
	v := &visit{worker: w, ctx: ctx, m: m, env: view.Envelope, rcpts: view.Rcpts}
	switch c.Op {
	case control.Hold:
		w.store.Hold(m, c.Reason)
	case control.Release:
		if view.Hold == "" {
			return errors.New("it is not held")
		}
		w.store.Hold(m, "")
	case control.Retry:
		switch at := view.Envelope.ReleaseAt; {
		case view.Hold != "":
			return errors.New("it is held: release it")
		case time.Now().Before(at):
			return fmt.Errorf("its sender wants it to leave at %s and not before", at.Local().Format(time.DateTime))
		}
	case control.Bounce:
		for i := range v.rcpts {
			if v.rcpts[i].State == spool.ToDo {
				v.fail(i, given(c), "")
			}
		}
	case control.Redirect:
		return v.redirect(c)
	}
	return nil
}

// given is the failure of a recipient that an operator gives up.
func given(c control.Change) mta.Outcome {
	return mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.0.0", Text: c.Reason, At: time.Now()}
}

// remove gives all recipients up and tells nobody. It needs nothing of what may be damaged.
func (w *worker) remove(m *spool.Message, c control.Change) error {
	view, _ := w.store.View(m)
	for _, i := range w.store.Unsettled(m) {
		var to mta.Address
		if view != nil && i < len(view.Rcpts) {
			if view.Rcpts[i].State == spool.Success { // it has the message, and only the report of that is missing
				continue
			}
			to = view.Rcpts[i].Address
		}
		o := given(c)
		w.store.Record(m, i, spool.Result{Outcome: o, Quiet: true})
		w.set.Metrics.way("").failed.Inc()
		w.log.QueueFailed(m.ID(), to, o)
	}
	return nil
}

// redirect puts other recipients in the place of all that are still to be delivered: the first of these becomes them,
// like an alias its members, and the others become nobody.
func (v *visit) redirect(c control.Change) error {
	var to []mta.Recipient
	switch d := v.set.Router.Route(v.ctx, c.To); d.Kind {
	case route.Alias:
		for _, m := range d.Members {
			to = append(to, mta.Recipient{Address: m.Address})
		}
	case route.Mailbox:
		to = append(to, mta.Recipient{Address: d.Login, Folder: d.Folder})
	case route.Refused, route.Deferred:
		return fmt.Errorf("%s: %s", c.To, d.Reply)
	default:
		to = append(to, mta.Recipient{Address: c.To})
	}
	var bad error
	done := false
	for i := range v.rcpts {
		if v.rcpts[i].State != spool.ToDo {
			continue
		}
		var members []mta.Recipient
		if !done {
			from := v.decide(v.ctx, &v.rcpts[i])
			for _, a := range to {
				r, _ := v.wishes(&v.rcpts[i], 1)
				r.Address, r.Folder = a.Address, a.Folder
				if from.Kind != route.Remote {
					r.Alias = v.fullAddress(&v.rcpts[i]) // it leaves this host only now
				}
				members = append(members, r)
			}
		}
		if _, err := v.store.Expand(v.m, i, members, "", nil); err != nil {
			bad = errUnsynced
		}
		v.log.QueueExpanded(v.env.ID, v.rcpts[i].Address, len(members), 0, "", mta.Address{}, nil)
		done = true
	}
	if !done {
		return spool.ErrGone
	}
	return bad
}
