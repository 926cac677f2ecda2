package runner

import (
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// group is one transaction to come: some recipients of a message with the same destination.
type group struct {
	it    *item
	dest  mta.Destination
	name  *name
	rcpts []int
	downs int       // how often it found its site down
	force bool      // it is to be tried even if its site is dead
	order any       // ... as this command wants it, with other messages
	due   time.Time // its time, where that has not come, and it is to be tried before it
}

// away is a transaction that is not to be made now, and why.
type away struct {
	group *group
	why   mta.Outcome
}

// dispatch starts all that may start.
func (s *schedule) dispatch(now time.Time) {
	s.keepUp(now)
	if s.stalled.Load() {
		return
	}
	s.revive(now)
	if now.After(s.forgetAt) {
		s.forget(now)
		s.forgetAt = now.Add(time.Minute)
	}
	for s.mayVisit() && s.startVisit(now) {
	}
	for s.asking < maxAsking && len(s.ask) > 0 {
		s.startLookup()
	}
	for s.remote < s.set.MaxRemote && s.startTransaction(now) {
	}
}

// mayVisit says whether there is room for another visit.
func (s *schedule) mayVisit() bool {
	return s.visiting-int(min(s.slow.Load(), maxSlow)) < s.set.MaxLocal
}

// startVisit starts the next piece of work of the local kind: ends of rounds first, for they set memory and segments
// free; then new messages, retries and what is turned away in turn, so that none waits for another one's flood.
func (s *schedule) startVisit(now time.Time) bool {
	if len(s.tasks) > 0 {
		it := s.tasks[0]
		s.tasks = pop(s.tasks)
		s.visiting++
		s.startSettle(it)
		return true
	}
	if s.shift++; len(s.away) > 0 && s.shift%3 == 0 {
		return s.startAway()
	}
	it := s.nextItem(now)
	if it == nil {
		return len(s.away) > 0 && s.startAway()
	}
	s.visiting++
	it.leave()
	back := it.freed
	it.freed, it.round = nil, &round{}
	w, ctx, look, early, o := s.worker(), s.work, it.m.Found() && !it.clear, back.early(), s.takeOrder(it)
	s.start(func() event {
		done := w.obey(ctx, it.m, o)
		switch {
		case done.unsynced:
			return visited{it: it, back: back, tally: tally{next: time.Now(), unsynced: true}}
		case done.gone:
			return visited{it: it, back: back}
		}
		e := w.visit(ctx, it.m, look, done.force, early)
		e.it, e.back, e.force, e.order = it, back, done.force, done.order
		return e
	})
	return true
}

func (s *schedule) nextItem(now time.Time) *item {
	s.turn = !s.turn
	if s.turn || len(s.fresh) == 0 {
		if it := s.wait.take(now); it != nil {
			return it
		}
	}
	if len(s.fresh) == 0 {
		return nil
	}
	it := s.fresh[0]
	s.fresh = pop(s.fresh)
	return it
}

func (s *schedule) startSettle(it *item) {
	w, ctx, y := s.worker(), s.work, it.round.tally
	s.start(func() event { return settled{it, w.settle(ctx, it.m, y)} })
}

func (s *schedule) startAway() bool {
	a := s.away[0]
	s.away = pop(s.away)
	s.visiting++
	w, ctx, load := s.worker(), s.work, a.group.it.round.load
	s.start(func() event { return turnedAway{a.group, w.turnAway(ctx, a.group, load, a.why)} })
	return true
}

func (s *schedule) countQueued(n int) {
	s.queued += n
	s.congested.Store(s.queued > spillWaiting)
}
