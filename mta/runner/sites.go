package runner

import (
	"context"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Bounds of destinations.
const (
	maxAsking = 500             // lookups of sites at once
	nameFor   = 5 * time.Minute // so long a destination is known to be of a site
)

// name is a destination as recipients have it, and the site that it was found to be of.
type name struct {
	dest    mta.Destination
	site    string
	until   time.Time // then it is looked up again
	asking  bool
	waiting []*group // for the lookup
}

// enqueue puts a transaction in line at its site, which may have to be looked up first: nothing else waits for that.
func (s *schedule) enqueue(g *group, now time.Time) {
	n := s.names[g.dest]
	if n == nil {
		n = &name{dest: g.dest}
		s.names[g.dest] = n
	}
	g.name = n
	if now.Before(n.until) {
		s.place(g, now)
		return
	}
	n.waiting = append(n.waiting, g)
	s.countQueued(1)
	if !n.asking {
		n.asking = true
		s.ask = append(s.ask, n)
	}
}

func (s *schedule) startLookup() {
	n := s.ask[0]
	s.ask = pop(s.ask)
	s.asking++
	r, ctx := s.set.Remote, s.asks
	s.start(func() event { return lookedUp{n, r.Site(ctx, n.dest)} })
}

// lookedUp: the site of a destination is known.
type lookedUp struct {
	name *name
	site string
}

func (e lookedUp) apply(s *schedule) {
	s.asking--
	now := time.Now()
	n := e.name
	n.site, n.until, n.asking = e.site, now.Add(nameFor), false
	list := n.waiting
	n.waiting = nil
	s.countQueued(-len(list))
	for _, g := range list {
		s.place(g, now)
	}
}

// siteOf returns the site of a name that was looked up.
func (s *schedule) siteOf(n *name, now time.Time) *site {
	x := s.sites[n.site]
	if x == nil {
		x = &site{name: n.site, batch: map[*item]*batch{}, window: newWindow(), index: -1}
		s.sites[n.site] = x
	}
	x.used = now
	return x
}

// place puts a transaction in line. Where the site is dead it is turned away, and where there is no room its message
// waits in the spool; either way the site fetches it when it can.
func (s *schedule) place(g *group, now time.Time) {
	x := s.siteOf(g.name, now)
	f := g.it.round.flow
	if g.force {
		g.force = false // once
		s.reopen(x, g.order, now)
	}
	switch {
	case x.closed(now) && g.due.After(now): // it was to be tried before its time: all stays as it was
		g.it.round.waitFor(x, g.name)
		var y tally
		y.wait(g.due)
		g.over(s, y)
	case x.closed(now):
		g.it.round.waitFor(x, g.name)
		s.away = append(s.away, away{g, x.suspended()})
	case x.full(f) || s.queued >= 2*maxWaiting || s.queued >= maxWaiting && x.queue.waiting(f) >= sparse:
		g.it.round.waitFor(x, g.name)
		var y tally
		y.wait(now.Add(s.set.RetryFirst))
		g.over(s, y)
	default:
		x.push(f, g)
		s.countQueued(1)
		s.list(x, now)
	}
}

// waitFor lets the item wait for a site when the round is over.
func (r *round) waitFor(x *site, n *name) {
	if r.site != x {
		r.site, r.names = x, nil
	}
	r.names = append(r.names, n)
}

// concluded takes notice of how a site did in a transaction; what has to be done again goes back into the line.
func (e transacted) concluded(s *schedule, now time.Time) (over bool) {
	x, g := e.site, e.group
	if e.down == nil {
		if e.up && x.success(now, s.set.MaxPerDestination) {
			s.graves.raise(x)
			s.log.QueueSiteAlive(x.name, x.holds)
		}
		return true
	}
	deaths := x.deaths
	died := x.failure(now, e.seen, *e.down)
	if died {
		s.graves.bury(x)
		if x.deaths > deaths {
			s.set.Metrics.deaths.Inc()
			s.log.QueueSiteDead(x.name, *e.down, x.until, x.queued+x.holds)
		}
		for _, w := range x.empty() {
			s.countQueued(-1)
			s.place(w, now)
		}
	}
	g.downs++
	switch {
	case died || x.closed(now):
		g.it.round.waitFor(x, g.name)
		s.away = append(s.away, away{g, *e.down})
	case g.downs >= maxDowns: // the site is there for others: it would fetch this one again at once
		s.away = append(s.away, away{g, *e.down})
	default:
		s.place(g, now)
	}
	return false
}

// maxDowns is how often a transaction may find its site down before its message waits until its own next time.
const maxDowns = 3

// fetch brings back what waits in the spool for a site: some more when its line gets short, one when it is on trial.
func (s *schedule) fetch(x *site, now time.Time) {
	if x.holds == 0 || x.closed(now) || s.queued >= maxWaiting {
		return
	}
	want := min(refill, 4*x.ceiling(s.set.MaxPerDestination))
	for x.queued+x.freed < want {
		it, names := x.fetch()
		if it == nil {
			return
		}
		x.freed++
		it.freed = &freed{x, names}
		s.wait.hasten(it, now)
	}
}

// freed is why an item was fetched before its time.
type freed struct {
	site  *site
	names []*name
}

// early says which destinations are to be tried before their time.
func (f *freed) early() map[mta.Destination]bool {
	if f == nil {
		return nil
	}
	m := map[mta.Destination]bool{}
	for _, n := range f.names {
		m[n.dest] = true
	}
	return m
}

// revive puts the sites on trial whose time is over.
func (s *schedule) revive(now time.Time) {
	for len(s.graves) > 0 && !s.graves[0].until.After(now) {
		x := s.graves[0]
		s.graves.raise(x)
		s.fetch(x, now)
		s.list(x, now)
	}
}

// forget drops what has been idle for long.
func (s *schedule) forget(now time.Time) {
	for k, n := range s.names {
		if !n.asking && len(n.waiting) == 0 && now.After(n.until) {
			delete(s.names, k)
		}
	}
	for k, x := range s.sites {
		if x.forgettable(now) {
			s.graves.raise(x)
			delete(s.sites, k)
		}
	}
}

// classes of sites with something that may start, which take turns.
const (
	urgent   = iota // their next message is more urgent than usual
	proven          // they have worked a short while ago
	unproven        // nobody knows: each may hold its worker for minutes
	classes
)

func (x *site) class(now time.Time) int {
	switch {
	case x.queue.urgent():
		return urgent
	case !x.proven.IsZero() && now.Sub(x.proven) < siteIdle && x.failures == 0:
		return proven
	}
	return unproven
}

// list puts a site in line, when something for it may start. One that has become urgent meanwhile changes lines.
func (s *schedule) list(x *site, now time.Time) {
	if !x.ready(now, s.set.MaxPerDestination) {
		return
	}
	c := x.class(now)
	if x.listed {
		if c != urgent || x.line == urgent {
			return
		}
		i := slices.Index(s.ready[x.line], x)
		s.ready[x.line] = slices.Delete(s.ready[x.line], i, i+1)
	}
	x.listed, x.line = true, c
	s.ready[c] = append(s.ready[c], x)
}

// next takes the site whose turn it is, nil when none may start anything. Sites of which nobody knows whether they
// answer do not get the last quarter of the workers.
func (s *schedule) next(now time.Time) *site {
	order := [...][classes]int{{urgent, proven, unproven}, {urgent, unproven, proven}, {urgent, proven, unproven}, {unproven, proven, urgent}}
	s.turns++
	for _, c := range order[s.turns%len(order)] {
		if c == unproven && s.doubtful >= s.set.MaxRemote-s.set.MaxRemote/4 {
			continue
		}
		for len(s.ready[c]) > 0 {
			x := s.ready[c][0]
			s.ready[c] = pop(s.ready[c])
			x.listed = false
			if x.ready(now, s.set.MaxPerDestination) {
				return x
			}
		}
	}
	return nil
}

// startTransaction starts the next transaction, sites in turn.
func (s *schedule) startTransaction(now time.Time) bool {
	x := s.next(now)
	if x == nil {
		return false
	}
	g := x.pop()
	x.busy++
	x.used = now
	s.remote++
	doubt := x.class(now) == unproven
	if doubt {
		s.doubtful++
	}
	s.countQueued(-1)
	s.fetch(x, now)
	s.list(x, now)
	w, ctx, load, seen := s.worker(), s.work, g.it.round.load, x.rounds
	s.start(func() event {
		e := w.transact(ctx, g, load)
		e.site, e.doubt, e.seen = x, doubt, seen
		return e
	})
	return true
}

func (s *schedule) stopAsking() {
	s.noAsks()
	for _, n := range s.ask {
		n.asking = false
	}
	s.ask = nil
}

// newAsks makes the context of lookups.
func (s *schedule) newAsks() { s.asks, s.noAsks = context.WithCancel(s.work) }
