package runner

import "time"

// visited: a message was read, its local deliveries are done, the others are to be made.
type visited struct {
	it     *item
	groups []*group
	tally  tally
}

func (e visited) apply(s *schedule) {
	s.visiting--
	it := e.it
	s.take(it, e.tally)
	it.left = len(e.groups)
	for _, g := range e.groups {
		g.it = it
		s.enqueue(g)
	}
	s.roundOver(it)
}

// transacted: one transaction of a round has ended.
type transacted struct {
	dest  *destination
	group *group
	tally tally
}

func (e transacted) apply(s *schedule) {
	s.remote--
	e.dest.busy--
	s.list(e.dest)
	s.drop(e.dest)
	e.group.over(s, e.tally)
}

// turnedAway: the recipients of a transaction that there was no room for were deferred.
type turnedAway struct {
	group *group
	tally tally
}

func (e turnedAway) apply(s *schedule) {
	s.visiting--
	e.group.over(s, e.tally)
}

func (g *group) over(s *schedule, y tally) {
	s.take(g.it, y)
	g.it.left--
	s.roundOver(g.it)
}

// settled: a round's failures were reported, and the message has left its segment if it has to wait.
type settled struct {
	it    *item
	tally tally
}

func (e settled) apply(s *schedule) {
	s.visiting--
	e.it.tally = tally{}
	s.take(e.it, e.tally)
	s.rest(e.it)
}

// take adds a worker's tally to its round.
func (s *schedule) take(it *item, y tally) {
	it.tally.merge(y)
	s.add(y.children)
	s.upkeep.activity(time.Now())
	if y.unsynced {
		s.stall()
	}
}

// roundOver ends a round whose last part has ended. A message with nothing left to do needs no settling; one that
// cannot be read cannot have any.
func (s *schedule) roundOver(it *item) {
	switch {
	case it.left > 0:
	case it.tally.broken || !it.tally.failed && it.tally.next.IsZero():
		s.rest(it)
	default:
		s.tasks = append(s.tasks, task{it: it})
	}
}

// rest lets an item wait for its next round, or forgets it.
func (s *schedule) rest(it *item) {
	next := it.tally.next
	it.tally = tally{}
	if it.again {
		it.again = false
		next = time.Now()
	}
	if next.IsZero() {
		delete(s.items, it.m)
		s.upkeep.finished++
		s.log.QueueFinished(it.m.ID())
		return
	}
	s.wait.add(it, next)
}
