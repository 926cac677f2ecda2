package runner

import (
	"context"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// takeUp schedules what an earlier run left, after a look for what that run delivered into mailboxes and could not
// write down any more (spool.5, START-UP). A message of which all that is left waits for a time to come needs no look:
// nothing was begun since that was written down.
func (s *schedule) takeUp(ctx context.Context) {
	found := s.store.Outstanding()
	ch := make(chan *spool.Message)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards the schedule while the workers below run
	for range min(s.set.MaxLocal, len(found)) {
		wg.Go(func() {
			w := s.worker()
			for m := range ch {
				y := w.look(ctx, m)
				mu.Lock()
				s.resume(m, y)
				mu.Unlock()
			}
		})
	}
	now := time.Now()
	soon, never := now.Add(s.set.RetryFirst/together+time.Minute), now.Add(s.set.RetryMax) // visit.due goes so far ahead; see visit.next
	for _, m := range found {
		if ctx.Err() != nil {
			break
		}
		var notice time.Time
		if s.set.DelayNotice > 0 {
			notice = m.ID().Time().Add(s.set.DelayNotice)
		}
		if due := s.store.Due(m, notice); due.After(soon) && !due.After(never) {
			mu.Lock()
			s.resume(m, tally{next: due, unclear: true})
			mu.Unlock()
			continue
		}
		ch <- m
	}
	close(ch)
	wg.Wait()
}

// resume schedules a message that was found.
func (s *schedule) resume(m *spool.Message, y tally) {
	if s.upkeep.flushAt.IsZero() {
		s.upkeep.activity(time.Now())
	}
	if y.next.IsZero() {
		s.log.QueueFinished(m.ID())
		return
	}
	it := &item{m: m, index: -1, clear: !y.unclear}
	s.items[m] = it
	s.wait.add(it, y.next)
}

// look finds out what is left to do for a message. Where it cannot tell whether an earlier run delivered, the tally is
// unclear, and the delivery will look again.
func (w *worker) look(ctx context.Context, m *spool.Message) tally {
	v, y := w.open(ctx, m)
	if v == nil {
		y.unclear = true
		return y
	}
	defer v.load.Close()
	for i := range v.rcpts {
		r := &v.rcpts[i]
		switch {
		case r.State == spool.Failure || r.State == spool.Success:
			v.tally.wait(time.Now())
		case r.State == spool.ToDo && !v.repaired(i):
			v.tally.wait(v.wake(r, time.Now()))
		}
	}
	return v.tally
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// repaired says that recipient i has the message in its mailbox.
func (v *visit) repaired(i int) bool {
	d := v.decide(v.ctx, &v.rcpts[i])
	v.tally.unclear = v.tally.unclear || d.Kind == route.Deferred || d.System != "" // only the user may look there
	if d.Kind != route.Mailbox || d.System != "" {
		return false
	}
	req, err := v.request(v.env, v.load, i, &v.rcpts[i], d, true)
	var present bool
	var receipt local.Receipt
	if err == nil {
		present, receipt, err = v.set.Search.Repair(v.ctx, req)
	}
	if err != nil {
		v.tally.unclear = true
		return false
	}
	if !present {
		return false
	}
	o := mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "found in the mailbox", At: time.Now()}
	if receipt.Synced {
		res := spool.Result{Outcome: o, Tell: v.tell(&v.rcpts[i], o)}
		v.store.Record(v.m, i, res)
		if res.Tell != "" {
			v.tally.wait(time.Now())
		}
	} else {
		v.store.Deposited(v.m, i, receipt.Dev, receipt.Dir)
	}
	v.delivered(i, o, byLocal)
	return true
}
