package runner

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// Bounds of what the schedule holds.
const (
	maxFresh       = 128   // arrivals read and not yet visited: the spool keeps their contents in memory
	maxWaiting     = 20000 // transactions that wait for their turn; fullSite is how many of them for one site
	spillWaiting   = 1000  // when so many wait, messages with remote recipients leave their segments
	maxTransaction = 100   // recipients of one transaction (RFC 5321 4.5.3.1.8)

	// Messages that wait for their transactions are kept as they were read, to read them once: so many octets of
	// them, none larger than the second number; the others are read again for each transaction.
	maxKept     = 64 << 20
	maxKeptSize = 256 << 10
	rcptSize    = 512 // about what a recipient takes
)

// schedule is the plan. Its goroutine alone touches it, save for the atomics.
type schedule struct {
	store   Store
	log     *maillog.Log
	set     *Settings
	reload  <-chan Settings
	asked   <-chan func(*schedule)
	work    context.Context // of deliveries
	cut     context.CancelFunc
	events  chan event
	running int // workers of all kinds; each sends one event

	items    map[*spool.Message]*item
	orders   map[*item]*order
	wait     waiting
	fresh    []*item      // never visited
	tasks    []*item      // whose rounds end, before everything else
	away     []away       // transactions that their sites do not take now
	turn     bool         // whether a fresh one comes before a waiting one
	shift    int          // counts what startVisit has done
	visiting int          // workers that visit, settle or turn away
	slow     atomic.Int32 // ... of which so many have been at one delivery of System for long

	names     map[mta.Destination]*name
	sites     map[string]*site
	ask       []*name         // whose sites are to be looked up
	asking    int             // lookups under way
	asks      context.Context // of lookups
	noAsks    context.CancelFunc
	ready     [classes][]*site // with something that may start
	turns     int              // counts what next has done
	graves    graves
	forgetAt  time.Time
	kept      int64       // octets of messages that wait for their transactions
	queued    int         // transactions that wait for lookups and sites
	remote    int         // transactions under way
	doubtful  int         // ... with sites that are unproven
	stalled   atomic.Bool // the spool cannot make results last: nothing may begin
	congested atomic.Bool // queued is over spillWaiting
	stopping  bool

	upkeep     upkeep
	publishing publishing
}

// event is what a worker sends when it has ended.
type event interface{ apply(s *schedule) }

func newSchedule(r *Runner) *schedule {
	set := r.set
	s := &schedule{
		store: r.store, log: r.log, set: &set, reload: r.reload, asked: r.questions, events: make(chan event),
		items: map[*spool.Message]*item{}, orders: map[*item]*order{}, names: map[mta.Destination]*name{}, sites: map[string]*site{},
	}
	s.work, s.cut = context.WithCancel(context.Background())
	s.newAsks()
	s.upkeep.pollAt = time.Now()
	return s
}

// loop runs the schedule until ctx has ended and all workers have.
func (s *schedule) loop(ctx context.Context, woken <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	var drained <-chan time.Time
	for {
		now := time.Now() // for both: what falls due between them must set the timer
		if !s.stopping {
			s.dispatch(now)
		} else if s.running == 0 {
			return
		} else {
			s.flushDue(now)
		}
		timer.Reset(time.Until(s.deadline(now)))
		select {
		case <-done:
			done, s.stopping = nil, true
			s.stalled.Store(true) // visits under way begin nothing new
			s.stopAsking()
			drain := time.NewTimer(s.set.Drain)
			defer drain.Stop()
			drained = drain.C
		case <-drained:
			s.log.QueueCut(s.running)
			s.cut()
		case <-woken:
			s.upkeep.pollAt = time.Time{}
		case set := <-s.reload:
			s.adopt(set)
		case do := <-s.asked:
			do(s)
		case <-timer.C:
		case e := <-s.events:
			s.running--
			e.apply(s)
		}
	}
}

// far is how long the timer sleeps when there is nothing to wake for.
const far = 24 * time.Hour

// deadline is the next moment at which dispatch has something to do. What is due already waits for an event.
func (s *schedule) deadline(now time.Time) time.Time {
	next := now.Add(far)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	if s.stopping {
		sooner(s.upkeep.flushAt)
		return next
	}
	if len(s.wait) > 0 {
		sooner(s.wait[0].due)
	}
	if !s.mayVisit() { // one of them may become slow
		sooner(now.Add(slowTime))
	}
	if len(s.graves) > 0 {
		sooner(s.graves[0].until)
	}
	s.upkeep.deadlines(sooner)
	if s.set.Publish != nil {
		sooner(s.publishing.at)
	}
	return next
}

// start runs a worker.
func (s *schedule) start(do func() event) {
	s.running++
	go func() { s.events <- do() }()
}

// worker returns what a worker needs: it keeps the settings that are in force now.
func (s *schedule) worker() *worker {
	return &worker{store: s.store, log: s.log, set: s.set, stalled: &s.stalled, congested: &s.congested, slow: &s.slow}
}

func (s *schedule) adopt(set Settings) {
	s.set = &set
	now := time.Now()
	for _, n := range s.names { // hosts may be others now
		n.until = time.Time{}
	}
	for _, x := range s.sites {
		s.list(x, now)
	}
}

// add schedules messages that are new to the schedule, or have something new to be done for them, at once.
func (s *schedule) add(ms []*spool.Message) {
	for _, m := range ms {
		it := s.items[m]
		switch {
		case it == nil:
			it = &item{m: m, index: -1}
			s.items[m] = it
			s.fresh = append(s.fresh, it)
		case it.index >= 0:
			s.wait.hasten(it, time.Now())
		default:
			it.again = true
		}
	}
}
