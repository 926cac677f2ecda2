package runner

import (
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// visited: a message was read, its local deliveries are done, the others are to be made.
type visited struct {
	it     *item
	back   *freed
	flow   flow
	groups []*group
	force  bool          // dead sites are to be tried
	order  any           // ... as this command wants it
	load   *spool.Loaded // nil: not for keeping
	tally  tally
}

func (e visited) apply(s *schedule) {
	s.visiting--
	if e.back != nil {
		e.back.site.freed--
	}
	now := time.Now()
	it := e.it
	it.round.flow, it.round.left = e.flow, len(e.groups)
	s.keep(it.round, e.load)
	s.take(it, e.tally)
	for _, g := range e.groups {
		g.it, g.force, g.order = it, e.force, e.order
		s.enqueue(g, now)
	}
	if len(e.groups) == 0 {
		s.roundOver(it)
	}
	if e.back != nil { // it may have had nothing for the site
		s.fetch(e.back.site, now)
	}
}

// keep holds on to what a visit has read until its round is over, as far as there is room.
func (s *schedule) keep(r *round, l *spool.Loaded) {
	if l == nil {
		return
	}
	if s.kept+weight(l) > maxKept {
		l.Close()
		return
	}
	r.load = l
	s.kept += weight(l)
}

func (s *schedule) release(r *round) {
	if r.load != nil {
		s.kept -= weight(r.load)
		r.load.Close()
		r.load = nil
	}
}

func weight(l *spool.Loaded) int64 { return l.Size + rcptSize*int64(len(l.Rcpts)) }

// transacted: one transaction of a round has ended.
type transacted struct {
	site  *site
	doubt bool
	seen  int // the site's rounds when it began
	group *group
	up    bool         // the site did its part
	down  *mta.Outcome // it did not, and nothing was recorded of the attempt
	tally tally
}

func (e transacted) apply(s *schedule) {
	now := time.Now()
	s.remote--
	e.site.busy--
	if e.doubt {
		s.doubtful--
	}
	if e.concluded(s, now) {
		e.group.over(s, e.tally)
	}
	s.fetch(e.site, now)
	s.list(e.site, now)
}

// turnedAway: the recipients of a transaction that its site does not take now were deferred.
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
	if g.it.round.left--; g.it.round.left == 0 {
		s.roundOver(g.it)
	}
}

// settled: a round's failures were reported, and the message has left its segment if it has to wait.
type settled struct {
	it    *item
	tally tally
}

func (e settled) apply(s *schedule) {
	s.visiting--
	e.it.round.tally = tally{}
	s.take(e.it, e.tally)
	s.rest(e.it)
}

// take adds a worker's tally to its round.
func (s *schedule) take(it *item, y tally) {
	it.round.tally.merge(y)
	s.add(y.children)
	s.upkeep.activity(time.Now())
	if y.unsynced {
		s.stall()
	}
}

// roundOver ends a round whose last part has ended. A message with nothing left to do needs no settling; one that
// cannot be read cannot have any.
func (s *schedule) roundOver(it *item) {
	s.release(it.round)
	y := &it.round.tally
	if y.broken || !y.failed && y.next.IsZero() {
		s.rest(it)
		return
	}
	s.tasks = append(s.tasks, it)
}

// rest lets an item wait for its next round, or forgets it.
func (s *schedule) rest(it *item) {
	r, now := it.round, time.Now()
	next := r.tally.next
	it.round = nil
	if it.again {
		it.again = false
		next = now
	}
	if s.ordered(it, next.IsZero()) {
		next = time.Time{}.Add(1) // before all others
	}
	if next.IsZero() {
		delete(s.items, it.m)
		s.upkeep.finished++
		s.set.Metrics.finished.Inc()
		s.log.QueueFinished(it.m.ID())
		return
	}
	s.wait.add(it, next)
	if r.site != nil {
		r.site.hold(it, r.flow, r.names)
		s.fetch(r.site, now)
	}
}
