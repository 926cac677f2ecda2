package runner

import (
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// group is one transaction to come: some recipients of a message with the same destination.
type group struct {
	it    *item
	dest  mta.Destination
	rcpts []int
}

// destination is a place off this host with what waits for it.
type destination struct {
	place  mta.Destination
	queue  []*group
	busy   int
	listed bool // in schedule.ready
}

// dispatch starts all that may start.
func (s *schedule) dispatch(now time.Time) {
	s.keepUp(now)
	if s.stalled.Load() {
		return
	}
	for s.visiting < s.set.MaxLocal && s.startVisit(now) {
	}
	for s.remote < s.set.MaxRemote && s.startTransaction() {
	}
}

// startVisit starts the next piece of work of the local kind: ends of rounds first, for they set memory and segments
// free; then new messages and retries in turn, so that neither waits for the other's flood.
func (s *schedule) startVisit(now time.Time) bool {
	if len(s.tasks) > 0 {
		t := s.tasks[0]
		s.tasks = pop(s.tasks)
		s.visiting++
		if t.group != nil {
			s.startOverflow(t.group)
		} else {
			s.startSettle(t.it)
		}
		return true
	}
	it := s.nextItem(now)
	if it == nil {
		return false
	}
	s.visiting++
	w, ctx, look := s.worker(), s.work, it.m.Found() && !it.clear
	s.start(func() event {
		groups, y := w.visit(ctx, it.m, look)
		return visited{it, groups, y}
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

// pop drops the first element, and the array behind it once it is used up.
func pop[T any](q []T) []T {
	var zero T
	q[0] = zero
	if len(q) == 1 {
		return nil
	}
	return q[1:]
}

func (s *schedule) startSettle(it *item) {
	w, ctx, y := s.worker(), s.work, it.tally
	s.start(func() event { return settled{it, w.settle(ctx, it.m, y)} })
}

func (s *schedule) startOverflow(g *group) {
	w, ctx := s.worker(), s.work
	s.start(func() event { return turnedAway{g, w.turnAway(ctx, g.it.m, g.rcpts)} })
}

// startTransaction starts the next transaction, destinations in turn.
func (s *schedule) startTransaction() bool {
	for len(s.ready) > 0 {
		d := s.ready[0]
		s.ready = pop(s.ready)
		d.listed = false
		if len(d.queue) == 0 || d.busy >= s.set.MaxPerDestination {
			continue
		}
		g := d.queue[0]
		d.queue = pop(d.queue)
		d.busy++
		s.remote++
		s.countQueued(-1)
		s.list(d)
		w, ctx := s.worker(), s.work
		s.start(func() event { return transacted{d, g, w.transact(ctx, g.it.m, g.dest, g.rcpts)} })
		return true
	}
	return false
}

// list puts a destination in line, when something for it may start.
func (s *schedule) list(d *destination) {
	if !d.listed && len(d.queue) > 0 && d.busy < s.set.MaxPerDestination {
		d.listed = true
		s.ready = append(s.ready, d)
	}
}

func (s *schedule) countQueued(n int) {
	s.queued += n
	s.congested.Store(s.queued > spillWaiting)
}

// enqueue puts a transaction in line; one that there is no room for is turned away.
func (s *schedule) enqueue(g *group) {
	d := s.dests[g.dest]
	if d == nil {
		d = &destination{place: g.dest}
		s.dests[g.dest] = d
	}
	if s.queued >= maxWaiting || len(d.queue) >= maxWaitingPerDest {
		s.tasks = append(s.tasks, task{g.it, g})
		s.drop(d)
		return
	}
	d.queue = append(d.queue, g)
	s.countQueued(1)
	s.list(d)
}

// drop forgets a destination that nothing is left of.
func (s *schedule) drop(d *destination) {
	if len(d.queue) == 0 && d.busy == 0 {
		delete(s.dests, d.place)
		if d.listed {
			s.ready = slices.DeleteFunc(s.ready, func(x *destination) bool { return x == d })
		}
	}
}
