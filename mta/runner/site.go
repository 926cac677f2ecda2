package runner

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Bounds of sites.
const (
	fullSite  = 5000             // transactions that wait for one site: what comes then waits in the spool
	sparse    = 20               // ... but not of a flow with less than this: a letter never waits for a mailing's end
	refill    = 200              // transactions that are fetched from there when fewer wait
	recent    = time.Minute      // so long a success speaks for a site
	deadAfter = 3                // failures in a row, of a site that has worked a short while ago
	firstBack = time.Minute      // how long a dead site is left alone; it doubles ...
	lastBack  = 30 * time.Minute // ... up to this
	siteIdle  = 10 * time.Minute // so long a site without mail is remembered
)

// site is a set of hosts that take mail, for however many domains: its window, what waits for it, and whether it is
// there at all. It is alive, or dead until a moment; then it is on trial: one transaction shows whether it lives again.
type site struct {
	name   string
	queue  fair[*batch]
	batch  map[*item]*batch // in queue
	queued int              // transactions in queue
	busy   int              // transactions under way
	window window
	listed bool // in schedule.ready
	line   int  // ... in which of them
	used   time.Time

	proven   time.Time // the last success
	failures int       // rounds of failures since then
	rounds   int       // of failures, in all
	dead     bool
	deaths   int         // in a row
	until    time.Time   // when a dead one is tried again
	former   time.Time   // what until was before an operator wanted a try; zero: nobody did
	order    any         // the command that wanted the last one
	reason   mta.Outcome // of the last failure
	index    int         // in schedule.graves, -1 = not there

	held  fair[place] // items that wait for it, in the spool; places that were given up are among them
	holds int         // how many really wait
	freed int         // fetched and on their way back
}

// batch is a message's transactions with one site.
type batch struct {
	it     *item
	groups []*group
}

// place is an item's place among those that wait for a site; it counts while number is the item's.
type place struct {
	it     *item
	number uint32
	names  []*name // what to try when the site has room again
}

// ceiling is how many transactions may be under way now.
func (x *site) ceiling(most int) int {
	if x.dead || x.deaths > 0 {
		return 1
	}
	return x.window.allowed(most)
}

// ready says that a transaction may start.
func (x *site) ready(now time.Time, most int) bool {
	return x.queued > 0 && x.busy < x.ceiling(most) && !x.closed(now)
}

// closed says that the site is dead and its time is not over.
func (x *site) closed(now time.Time) bool { return x.dead && now.Before(x.until) }

// success notes that a transaction found the site well; revived says that it was dead.
func (x *site) success(now time.Time, most int) (revived bool) {
	revived = x.deaths > 0
	if revived {
		x.window.restart()
	}
	x.window.grow(most)
	x.proven, x.failures, x.deaths, x.dead, x.former = now, 0, 0, false, time.Time{}
	return revived
}

// failure notes that one did not; seen is what rounds was when it began, died says that the site is dead now, and deaths whether that
// is new. What had
// begun before another one failed says nothing new. The clock cannot tell that: a connection may be refused in no time.
func (x *site) failure(now time.Time, seen int, reason mta.Outcome) (died bool) {
	if x.failures > 0 && seen != x.rounds {
		return false
	}
	x.failures++
	x.rounds++
	x.reason = reason
	x.window.shrink(x.busy)
	if x.closed(now) || x.deaths == 0 && x.failures < deadAfter && (x.busy > 0 || now.Sub(x.proven) < recent) {
		return false
	}
	x.dead = true
	if x.former.After(now) { // a try before its time says nothing new
		x.until, x.former = x.former, time.Time{}
		return true
	}
	x.former = time.Time{}
	back := lastBack
	if x.deaths < 10 {
		back = min(lastBack, firstBack<<x.deaths)
	}
	x.deaths++
	x.until = now.Add(back - time.Duration(rand.Int64N(int64(back/10))))
	return true
}

// suspended is the outcome of a message that is not tried because the site is dead.
func (x *site) suspended() mta.Outcome {
	o := x.reason
	o.Host, o.Addr, o.TLS, o.At = "", "", "", time.Time{}
	o.Text = "not tried: " + o.Text
	return o
}

func (x *site) push(f flow, g *group) {
	b := x.batch[g.it]
	if b == nil {
		b = &batch{it: g.it}
		x.batch[g.it] = b
		x.queue.push(f, b)
	}
	b.groups = append(b.groups, g)
	x.queued++
}

// pop takes the next transaction: flows in turn, and in a flow messages in turn.
func (x *site) pop() *group {
	b, ok := x.queue.pop()
	for ok && len(b.groups) == 0 { // withdrawn
		b, ok = x.queue.pop()
	}
	if !ok {
		return nil
	}
	g := b.groups[0]
	b.groups = pop(b.groups)
	if x.queued--; len(b.groups) > 0 {
		x.queue.push(b.it.round.flow, b)
	} else {
		delete(x.batch, b.it)
	}
	return g
}

// empty takes all transactions.
func (x *site) empty() (all []*group) {
	for _, b := range x.queue.drain() {
		all = append(all, b.groups...)
	}
	clear(x.batch)
	x.queued = 0
	return all
}

// full says that what a flow has for the site must wait in the spool.
func (x *site) full(f flow) bool { return x.queued >= fullSite && x.queue.waiting(f) >= sparse }

// hold lets an item wait for the site.
func (x *site) hold(it *item, f flow, names []*name) {
	it.holder = x
	it.place++
	x.holds++
	x.held.push(f, place{it, it.place, names})
	if x.held.size > 2*x.holds+1000 {
		x.sweep()
	}
}

// sweep drops the places that were given up. The order of the others stays within each flow.
func (x *site) sweep() {
	var q fair[place]
	for _, b := range x.held.bands {
		for who, l := range b.flows {
			for _, p := range l.queue {
				if p.valid(x) {
					q.push(flow{who, b.priority}, p)
				}
			}
		}
	}
	x.held = q
}

func (p place) valid(x *site) bool { return p.it.holder == x && p.it.place == p.number }

// leave gives up an item's place.
func (it *item) leave() {
	if it.holder != nil {
		it.holder.holds--
		it.holder = nil
	}
}

// fetch returns the next item that waits, with what of it to try.
func (x *site) fetch() (it *item, names []*name) {
	for {
		p, ok := x.held.pop()
		if !ok {
			return nil, nil
		}
		if p.valid(x) {
			p.it.leave()
			return p.it, p.names
		}
	}
}

// forgettable says that nothing is lost with the site.
func (x *site) forgettable(now time.Time) bool {
	return x.queued == 0 && x.busy == 0 && x.holds == 0 && x.freed == 0 && !x.closed(now) && now.Sub(x.used) > siteIdle
}

// graves is a heap of dead sites, the one whose time is over first on top.
type graves []*site

func (g graves) Len() int           { return len(g) }
func (g graves) Less(i, j int) bool { return g[i].until.Before(g[j].until) }
func (g graves) Swap(i, j int) {
	g[i], g[j] = g[j], g[i]
	g[i].index, g[j].index = i, j
}

// Push is for container/heap.
func (g *graves) Push(v any) {
	x := v.(*site)
	x.index = len(*g)
	*g = append(*g, x)
}

// Pop is for container/heap.
func (g *graves) Pop() any {
	old := *g
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*g = old[:len(old)-1]
	x.index = -1
	return x
}

func (g *graves) bury(x *site) {
	if x.index >= 0 {
		heap.Fix(g, x.index)
		return
	}
	heap.Push(g, x)
}

func (g *graves) raise(x *site) {
	if x.index >= 0 {
		heap.Remove(g, x.index)
	}
}
