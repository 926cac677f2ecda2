package runner_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// gauge counts what is under way.
type gauge struct {
	mu         sync.Mutex // guards all
	now, most  int
	perDest    map[string]int
	mostOfDest int
}

func (g *gauge) enter(dest string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.perDest == nil {
		g.perDest = map[string]int{}
	}
	g.now++
	g.perDest[dest]++
	g.most, g.mostOfDest = max(g.most, g.now), max(g.mostOfDest, g.perDest[dest])
}

func (g *gauge) leave(dest string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
	g.perDest[dest]--
}

func (g *gauge) running() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func TestConcurrencyLimitsAreUsedAndNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxRemote, w.set.MaxPerDestination = 5, 2
		var g gauge
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			g.enter(t.Dest.Domain)
			defer g.leave(t.Dest.Domain)
			time.Sleep(time.Minute)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		for i := range 60 {
			w.send("alice@here.test", fmt.Sprintf("u%d@far%d.test", i, i%3))
		}
		w.until("finished", 3*time.Hour, w.idle)
		if g.most != 5 || g.mostOfDest != 2 {
			t.Errorf("at most %d at once and %d with one destination, want 5 and 2", g.most, g.mostOfDest)
		}
	})
}

func TestMailboxesHaveTheirOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxLocal = 3
		g, slow := &gauge{}, &slowLocal{mailboxes: w.local}
		slow.gauge = g
		w.set.Local = slow
		w.begin()
		defer w.close()
		for i := range 30 {
			w.send("alice@here.test", fmt.Sprintf("u%d@here.test", i))
		}
		w.until("finished", time.Hour, w.idle)
		if g.most != 3 {
			t.Errorf("at most %d at once, want 3", g.most)
		}
	})
}

type slowLocal struct {
	*mailboxes
	gauge *gauge
}

func (s *slowLocal) Deliver(ctx context.Context, r local.Request) (mta.Outcome, local.Receipt) {
	s.gauge.enter("")
	defer s.gauge.leave("")
	time.Sleep(time.Second)
	return s.mailboxes.Deliver(ctx, r)
}

func TestLocalMailDoesNotWaitForRemoteMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxRemote, w.set.MaxLocal = 2, 1
		release := make(chan struct{})
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			<-release
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		for i := range 500 {
			w.send("alice@here.test", fmt.Sprintf("u%d@far.test", i))
		}
		w.send("alice@here.test", "bob@here.test")
		w.until("delivered to bob", time.Minute, func() bool { return len(w.local.of("bob@here.test")) == 1 })
		close(release)
		w.until("finished", time.Hour, w.idle)
	})
}

func TestWhatThereIsNoRoomForWaitsInTheSpoolAndNothingElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxRemote, w.set.MaxPerDestination = 2, 1
		release := make(chan struct{})
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			if t.Dest.Domain == "slow.test" {
				<-release
			}
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		const n = 5100 // one is under way, 5000 wait in memory
		for i := range n {
			w.send("alice@here.test", fmt.Sprintf("u%d@slow.test", i))
		}
		w.send("alice@here.test", "bob@here.test", "x@quick.test")
		w.until("past the crowd", time.Minute, func() bool {
			return len(w.local.of("bob@here.test")) == 1 && len(w.remote.recipients()) == 2
		})
		close(release)
		w.until("finished", time.Minute, w.idle)
		if got := len(w.remote.recipients()); got != n+1 {
			t.Errorf("delivered to %d recipients, want %d", got, n+1)
		}
		if got := w.log.named("deferred"); len(got) > 0 {
			t.Errorf("waiting for room counts as a try: %q", got[0])
		}
	})
}

func TestRecipientsOfOneDestinationShareTransactionsOfAHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		defer w.close()
		var to []string
		for i := range 250 {
			to = append(to, fmt.Sprintf("u%d@far.test", i))
		}
		w.send("alice@here.test", to...)
		w.until("finished", time.Hour, w.idle)
		var sizes []int
		w.remote.mu.Lock()
		defer w.remote.mu.Unlock()
		for _, g := range w.remote.got {
			sizes = append(sizes, len(g.Rcpts))
		}
		if len(sizes) != 3 || sizes[0]+sizes[1]+sizes[2] != 250 || max(sizes[0], sizes[1], sizes[2]) != 100 {
			t.Errorf("transactions of %v recipients, want 100, 100 and 50", sizes)
		}
	})
}

func TestReloadTakesEffectAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxRemote, w.set.MaxPerDestination = 4, 1
		var g gauge
		release := make(chan struct{})
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			g.enter(t.Dest.Host)
			defer g.leave(t.Dest.Host)
			<-release
			time.Sleep(time.Second)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		for i := range 10 {
			w.send("alice@here.test", fmt.Sprintf("u%d@far.test", i))
		}
		w.until("one under way", time.Minute, func() bool { return g.running() == 1 })
		next := w.set
		next.MaxPerDestination = 4
		next.Router = &router{relay: mta.Destination{Host: "smart.test"}}
		w.runner.Reload(w.set)
		w.runner.Reload(next)                                                          // the last one counts
		w.until("two under way", time.Minute, func() bool { return g.running() == 2 }) // a window begins so
		w.send("alice@here.test", "late@other.test")
		close(release)
		w.until("finished", time.Hour, w.idle)
		w.remote.mu.Lock()
		defer w.remote.mu.Unlock()
		if n := len(w.remote.got); n != 11 || g.most < 3 {
			t.Errorf("%d transactions, at most %d at once; want 11, and more than 2", n, g.most)
		}
		for _, g := range w.remote.got {
			if late := g.Rcpts[0].Address.Domain == "other.test"; late != (g.Dest.Host == "smart.test") {
				t.Errorf("%s went to %s", g.Rcpts[0].Address, g.Dest)
			}
		}
	})
}

func TestNoDeliveryBeginsWhileResultsCannotBeWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := &flaky{}
		w.wrap = func(s *spool.Store) runner.Store { f.Store = s; return f }
		w.begin()
		defer w.close()
		f.fail(true)
		w.send("alice@here.test", "first@far.test") // its result is what cannot be written
		w.until("stalled", time.Minute, func() bool { return len(w.log.named("stalled")) == 1 })
		w.send("alice@here.test", "second@far.test", "bob@here.test")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := fmt.Sprint(w.remote.recipients(), w.local.of("bob@here.test")); got != "[first@far.test] []" {
			t.Errorf("while stalled: delivered to %s", got)
		}
		f.fail(false)
		w.until("finished", time.Minute, w.idle)
		if s, r := w.log.named("stalled"), w.log.named("resumed"); len(s) != 1 || len(r) != 1 || !strings.Contains(s[0], "op=flush") {
			t.Errorf("stalled %q, resumed %q; want one of each", s, r)
		}
	})
}

func TestWhatTheDiskDoesNotHaveYetIsNotDelivered(t *testing.T) {
	for name, to := range map[string]string{"alias": "list@here.test", "report": "gone@here.test"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.router.aliases["list@here.test"] = []string{"bob@here.test", "x@far.test"}
				w.router.gone["gone@here.test"] = true
				f := &flaky{}
				w.wrap = func(s *spool.Store) runner.Store { f.Store = s; return f }
				w.begin()
				defer w.close()
				f.fail(true)
				w.send("alice@here.test", to)
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := w.log.named("delivered"); len(got) != 0 {
					t.Errorf("delivered before it was durable: %q", got)
				}
				f.fail(false)
				w.until("finished", time.Minute, w.idle)
				if got := w.log.named("delivered"); len(got) == 0 {
					t.Error("never delivered")
				}
			})
		})
	}
}

func TestResultsAreWrittenDownWhileTheEndIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := &flaky{}
		w.wrap = func(s *spool.Store) runner.Store { f.Store = s; return f }
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			wait := 5 * time.Second
			if t.Dest.Domain == "slow.test" {
				wait = 20 * time.Second
			}
			time.Sleep(wait)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		w.send("alice@here.test", "a@quick.test", "b@slow.test")
		synctest.Wait()
		time.Sleep(time.Second)
		w.stop()
		time.Sleep(3 * time.Second)
		before := f.count()
		time.Sleep(3 * time.Second)
		if got := f.count(); got <= before {
			t.Errorf("%d flushes after a result, want one more than %d", got, before)
		}
		w.close()
	})
}

// flaky is a store whose Flush can be made to fail, and with it the last step of what relies on it.
type flaky struct {
	*spool.Store
	mu      sync.Mutex // guards what follows
	bad     bool
	flushes int
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flushes
}

func (f *flaky) Expand(m *spool.Message, i int, members []mta.Recipient, tell string, forward spool.Build) (*spool.Message, error) {
	child, err := f.Store.Expand(m, i, members, tell, forward)
	if err == nil {
		err = f.Flush()
	}
	return child, err
}

func (f *flaky) Report(m *spool.Message, t spool.Telling, build spool.Build) (*spool.Message, error) {
	child, err := f.Store.Report(m, t, build)
	if err == nil {
		err = f.Flush()
	}
	return child, err
}

func (f *flaky) fail(b bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad = b
}

func (f *flaky) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes++
	if f.bad {
		return errDisk
	}
	return f.Store.Flush()
}
