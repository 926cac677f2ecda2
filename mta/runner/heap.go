package runner

import (
	"container/heap"
	"time"

	"github.com/posthouse-mail/posthouse/mta/spool"
)

// item is a message as the schedule knows it: in the heap while it waits, elsewhere while a round of it is under way.
// There may be millions: what only a round needs is in that.
type item struct {
	m      *spool.Message
	due    time.Time
	index  int    // in the heap, -1 = not there
	holder *site  // that it waits for, nil = none; it comes when it is due, or when the site fetches it
	place  uint32 // its number among those who wait there
	clear  bool   // the look at start-up has found that no earlier run delivered it
	again  bool   // there is something to do for it that its present round does not know
	freed  *freed // its site has fetched it
	round  *round // nil while it waits
}

// round is what is known of an item's round while it is under way.
type round struct {
	flow  flow
	left  int // transactions that have not ended
	tally tally
	load  *spool.Loaded // what its visit has read, nil = it was not kept
	site  *site         // that has no room for it, nil = none
	names []*name       // ... which of it
}

// waiting is a heap of items, the one that is due first on top.
type waiting []*item

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push is for container/heap.
func (w *waiting) Push(x any) {
	it := x.(*item)
	it.index = len(*w)
	*w = append(*w, it)
}

// Pop is for container/heap.
func (w *waiting) Pop() any {
	old := *w
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	it.index = -1
	return it
}

func (w *waiting) add(it *item, due time.Time) {
	it.due = due
	heap.Push(w, it)
}

// hasten makes an item due now, if it was to wait longer.
func (w *waiting) hasten(it *item, now time.Time) {
	if it.due.After(now) {
		it.due = now
		heap.Fix(w, it.index)
	}
}

// take removes and returns the first item that is due, nil when none is.
func (w *waiting) take(now time.Time) *item {
	if len(*w) == 0 || (*w)[0].due.After(now) {
		return nil
	}
	return heap.Pop(w).(*item)
}

// tally is what a worker hands back of its part of a round.
type tally struct {
	next     time.Time        // when something is to be tried again; zero = nothing is
	failed   bool             // a report is due
	children []*spool.Message // new messages: reports and forwards
	unsynced bool             // the spool could not make a record last
	broken   bool             // the message cannot be read now
	unclear  bool             // the look at start-up could not be had
}

// wait notes that there is something to do at t.
func (y *tally) wait(t time.Time) {
	if y.next.IsZero() || t.Before(y.next) {
		y.next = t
	}
}

func (y *tally) merge(o tally) {
	if !o.next.IsZero() {
		y.wait(o.next)
	}
	y.failed = y.failed || o.failed
	y.broken = y.broken || o.broken
}
