package runner_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

// count returns how many transactions there were with a domain.
func (r *remote) count(domain string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, t := range r.got {
		if t.Dest.Domain == domain {
			n++
		}
	}
	return n
}

func TestMessagesForADeadSiteWaitAndAreNotTriedOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var dead atomic.Bool
		dead.Store(true)
		w.remote.down = func(t runner.Transaction) bool { return dead.Load() && t.Dest.Domain == "dead.test" }
		w.begin()
		defer w.close()
		for i := range 300 {
			w.send(fmt.Sprintf("alice%d@here.test", i%10), fmt.Sprintf("u%d@dead.test", i))
		}
		w.send("alice@here.test", "x@good.test")
		w.until("all seen", time.Minute, func() bool { return len(w.log.named("deferred")) == 300 })
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		// Back-off: 1, 2, 4, 8, 16 minutes, then every half hour; two may have begun before the first failed.
		if got := w.remote.count("dead.test"); got < 10 || got > 25 {
			t.Errorf("%d tries in six hours, want about 17", got)
		}
		lines := w.log.named("dead")
		if len(lines) == 0 || !strings.Contains(lines[0], "site=dead.test") || !strings.Contains(lines[0], "451 4.4.1 mx.dead.test: cannot be reached") {
			t.Errorf("said of the site: %q", lines)
		}
		if got := strings.Join(w.log.named("deferred"), "\n"); !strings.Contains(got, "not tried: mx.dead.test: cannot be reached") {
			t.Errorf("messages are not told why they wait:\n%.300s", got)
		}
		if w.remote.count("good.test") != 1 {
			t.Error("another site had to wait")
		}
		dead.Store(false)
		w.until("finished", 35*time.Minute, w.idle) // although their own time would come after hours
		if got := w.log.named("alive"); len(got) != 1 || !strings.Contains(got[0], "site=dead.test") {
			t.Errorf("said of the end: %q", got)
		}
	})
}

func TestMessagesForADeadSiteExpireAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.down = func(runner.Transaction) bool { return true }
		w.begin()
		defer w.close()
		start := time.Now()
		for i := range 20 {
			w.send("alice@here.test", fmt.Sprintf("u%d@dead.test", i))
		}
		w.until("finished", 6*24*time.Hour, w.idle)
		if age := time.Since(start); age < w.set.Lifetime {
			t.Errorf("given up after %v, want %v", age, w.set.Lifetime)
		}
		if got := w.log.named("failed"); len(got) != 20 || !strings.Contains(got[19], "cannot be reached") {
			t.Errorf("%d failed, want 20: %q", len(got), got[len(got)-1])
		}
		if got := len(w.local.of("alice@here.test")); got != 20 {
			t.Errorf("%d reports, want 20", got)
		}
	})
}

func TestRefusedConnectionsShrinkTheWindowAndDelayNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const stands = 5
		var g gauge
		w.remote.down = func(t runner.Transaction) bool {
			return g.running() >= stands
		}
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			g.enter("")
			defer g.leave("")
			time.Sleep(time.Second)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		start := time.Now()
		for i := range 500 {
			w.send("alice@here.test", fmt.Sprintf("u%d@far.test", i))
		}
		w.until("finished", time.Hour, w.idle)
		if got := w.log.named("deferred"); len(got) > 5 {
			t.Errorf("%d of 500 messages were deferred", len(got))
		}
		if took := time.Since(start); g.most < 4 || len(w.log.named("deferred")) == 0 && took > 4*time.Minute {
			t.Errorf("%v for 500 messages, %d at once; the other end stands %d for a second each", took, g.most, stands)
		}
	})
}

func TestDomainsOfOneSiteShareItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxPerDestination = 3
		w.remote.site = func(mta.Destination) string { return "mx.big.test" }
		var g gauge
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			g.enter("")
			defer g.leave("")
			time.Sleep(time.Minute)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		for i := range 60 {
			w.send("alice@here.test", fmt.Sprintf("x@d%d.test", i))
		}
		w.until("finished", 3*time.Hour, w.idle)
		if g.most != 3 {
			t.Errorf("%d at once with one site, want 3", g.most)
		}
	})
}

func TestNothingWaitsForLookupsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.remote.site = func(d mta.Destination) string {
			if strings.HasPrefix(d.Domain, "slow") {
				<-release
			}
			return d.Domain
		}
		w.begin()
		defer w.close()
		for i := range 200 {
			w.send("alice@here.test", fmt.Sprintf("x@slow%d.test", i))
		}
		w.send("alice@here.test", "x@quick.test", "bob@here.test")
		w.until("delivered", time.Second, func() bool {
			return w.remote.count("quick.test") == 1 && len(w.local.of("bob@here.test")) == 1
		})
		close(release)
		w.until("finished", time.Minute, w.idle)
	})
}

func TestSitesThatDoNotAnswerLeaveRoomForThoseThatDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxRemote = 8
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			if strings.HasPrefix(t.Dest.Domain, "tarpit") {
				time.Sleep(10 * time.Minute)
			}
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		w.send("alice@here.test", "x@good.test")
		w.until("good.test is known", time.Second, func() bool { return w.remote.count("good.test") == 1 })
		for i := range 50 {
			w.send("alice@here.test", fmt.Sprintf("x@tarpit%d.test", i))
		}
		synctest.Wait()
		w.send("alice@here.test", "y@good.test")
		w.until("delivered", time.Second, func() bool { return w.remote.count("good.test") == 2 })
		w.until("finished", 3*time.Hour, w.idle)
	})
}

// mailing puts a mailing of n recipients into the queue, each a message of its own or a hundred a message.
func (w *world) mailing(n, each int) {
	for i := 0; i < n; i += each {
		e := &mta.Envelope{Role: mta.RoleMX, Sender: address("list@here.test")}
		for k := range each {
			e.Rcpts = append(e.Rcpts, mta.Recipient{Address: address(fmt.Sprintf("u%d@far.test", i+k))})
		}
		w.commit(e)
	}
}

func TestLettersLeaveWithinSecondsThoughAMailingIsInTheQueue(t *testing.T) {
	sizes := []int{50000, 100}
	if !testing.Short() {
		sizes = append(sizes, 1)
	}
	for _, each := range sizes {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
				time.Sleep(time.Second)
				return all(t, mta.Outcome{Status: mta.Delivered})
			}
			w.begin()
			defer w.close()
			w.mailing(50000, each)
			w.until("begun", 10*time.Minute, func() bool { return len(w.remote.tries()) > 5 })
			start := time.Now()
			w.send("alice@here.test", "other@other.test")
			w.send("alice@here.test", "same@far.test")
			w.send("alice@here.test", "bob@here.test")
			done := func() bool {
				to := strings.Join(w.remote.recipients(), " ")
				return strings.Contains(to, "other@other.test") && strings.Contains(to, "same@far.test") && len(w.local.of("bob@here.test")) == 1
			}
			w.until("letters delivered", 10*time.Second, done)
			if left := 50000 - len(w.remote.recipients()); left < 10000 {
				t.Fatalf("only %d recipients of the mailing are left: nothing is shown", left)
			}
			t.Logf("%d a message: the letters left within %v of the queue's time", each, time.Since(start))
			w.until("finished", 10*time.Hour, w.idle)
			if got := len(w.remote.recipients()); got != 50002 {
				t.Errorf("%d recipients, want 50002", got)
			}
		})
	}
}

func TestUrgentMailGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.MaxRemote = 1
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			time.Sleep(time.Second)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		for i := range 300 {
			w.send(fmt.Sprintf("a%d@here.test", i), fmt.Sprintf("x@far%d.test", i%30))
		}
		w.until("begun", time.Minute, func() bool { return len(w.remote.tries()) > 5 })
		for _, domain := range []string{"far7.test", "other.test"} {
			w.commit(&mta.Envelope{Role: mta.RoleMX, Sender: address("z@here.test"), Priority: 4, Rcpts: []mta.Recipient{{Address: address("urgent@" + domain)}}})
		}
		w.until("urgent mail delivered", 10*time.Second, func() bool {
			return strings.Count(strings.Join(w.remote.recipients(), " "), "urgent@") == 2
		})
		w.until("finished", time.Hour, w.idle)
	})
}
