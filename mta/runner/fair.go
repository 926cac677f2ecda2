package runner

import (
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// flow is whose mail it is, and how urgent (RFC 6710: -9 to 9, 0 is usual). Flows take turns.
type flow struct {
	who      string
	priority int
}

// flowOf names the flow of a message: the login that sent it, else the sender, whose variable part is left out, so that
// a list which gives each recipient a sender of its own (VERP, SRS) is one flow.
func flowOf(e *mta.Envelope) flow {
	f := flow{priority: max(-9, min(e.Priority, 9))}
	if e.Login != "" {
		f.who = "login " + e.Login
		return f
	}
	local := e.Sender.Local
	if i := strings.IndexAny(local, "+="); i >= 0 {
		local = local[:i]
	}
	if i := strings.IndexAny(local, "0123456789"); i >= 0 && len(local)-i > 4 {
		local = local[:i] // a counter or an id; u12 may be a person
	}
	f.who = local + "@" + e.Sender.Domain
	return f
}

// fair is a queue from which each flow gets its turn: the more urgent ones first, those that are new before those that
// have had something, and none waits for ever: every fourth turn is for those behind.
type fair[T any] struct {
	bands []*band[T] // by priority, the most urgent first; none is empty
	size  int
	turn  int
}

// band is the flows of one priority: fresh ones have had nothing yet.
type band[T any] struct {
	priority   int
	flows      map[string]*lane[T]
	fresh, old []*lane[T]
	turn       int
	size       int
}

type lane[T any] struct {
	who   string
	queue []T
}

// every is the turn that is for those behind.
const every = 4

func (q *fair[T]) push(f flow, v T) {
	i, found := slices.BinarySearchFunc(q.bands, f.priority, func(b *band[T], p int) int { return p - b.priority })
	if !found {
		q.bands = slices.Insert(q.bands, i, &band[T]{priority: f.priority, flows: map[string]*lane[T]{}})
	}
	b := q.bands[i]
	l := b.flows[f.who]
	if l == nil {
		l = &lane[T]{who: f.who}
		b.flows[f.who] = l
		b.fresh = append(b.fresh, l)
	}
	l.queue = append(l.queue, v)
	b.size++
	q.size++
}

// waiting is how much a flow has in the queue.
func (q *fair[T]) waiting(f flow) int {
	for _, b := range q.bands {
		if l := b.flows[f.who]; b.priority == f.priority && l != nil {
			return len(l.queue)
		}
	}
	return 0
}

// urgent says that what comes next is more urgent than usual.
func (q *fair[T]) urgent() bool { return len(q.bands) > 0 && q.bands[0].priority > 0 }

// pop takes what is next; false when there is nothing.
func (q *fair[T]) pop() (v T, ok bool) {
	if q.size == 0 {
		return v, false
	}
	i := 0
	if q.turn++; q.turn%every == 0 {
		i = q.turn / every % len(q.bands)
	}
	b := q.bands[i]
	v = b.pop()
	q.size--
	if b.size == 0 {
		q.bands = slices.Delete(q.bands, i, i+1)
	}
	return v, true
}

// pop takes from the next flow in turn, which goes behind the others, even with nothing left: what it gets next must not
// count as fresh. The band is not empty.
func (b *band[T]) pop() T {
	for {
		from := &b.fresh
		if b.turn++; len(b.fresh) == 0 || b.turn%every == 0 && len(b.old) > 0 {
			from = &b.old
		}
		l := (*from)[0]
		*from = pop(*from)
		if len(l.queue) == 0 {
			delete(b.flows, l.who)
			continue
		}
		v := l.queue[0]
		l.queue = pop(l.queue)
		b.old = append(b.old, l)
		b.size--
		return v
	}
}

// drain takes all that is in the queue, in no order.
func (q *fair[T]) drain() (all []T) {
	for _, b := range q.bands {
		for _, l := range b.flows {
			all = append(all, l.queue...)
		}
	}
	*q = fair[T]{}
	return all
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
