package runner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
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
		list, err := w.runner.Destinations(t.Context())
		if err != nil || len(list) != 2 || list[0].Name != control.LocalDest { // good.test was forgotten
			t.Fatalf("destinations: got %+v, %v; want the mailboxes and one site", list, err)
		}
		if d := list[1]; d.Name != "dead.test" || d.State != control.DestDead || d.Waiting < 299 || d.Window != 0 || !d.Until.After(time.Now()) ||
			d.Reason != "451 4.4.1 mx.dead.test: cannot be reached" || !d.Success.IsZero() {
			t.Errorf("got %+v, want it dead, with all messages and the reason", d)
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

func TestDestinationsTellHowTheyStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		end, ask := make(chan struct{}), make(chan struct{})
		w.remote.site = func(d mta.Destination) string {
			switch d.Domain {
			case "slow-dns.test":
				<-ask
			case "one.test", "two.test":
				return "mx.big.test"
			}
			return d.Domain
		}
		var down atomic.Bool
		w.remote.down = func(t runner.Transaction) bool { return down.Load() && t.Dest.Domain == "failing.test" }
		w.remote.do = func(ctx context.Context, t runner.Transaction) []mta.Outcome {
			if t.Dest.Domain == "failing.test" {
				return all(t, mta.Outcome{Status: mta.Delivered})
			}
			return hung(end)(ctx, t)
		}
		w.begin()
		for n := range 3 { // a site begins with 2
			w.send("s@away.test", fmt.Sprintf("a%d@one.test", n))
		}
		w.send("s@away.test", "b@two.test")
		w.send("s@away.test", "b@slow-dns.test")
		w.send("s@away.test", "b@failing.test")
		w.until("well", time.Minute, func() bool { return len(w.log.named("delivered")) == 1 })
		down.Store(true)
		w.send("s@away.test", "c@failing.test")
		w.until("down", time.Minute, func() bool { return w.remote.count("failing.test") > 1 })
		synctest.Wait()
		list, err := w.runner.Destinations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range list {
			got = append(got, fmt.Sprintf("%s %v %s %d %d %d %t", d.Name, d.Domains, d.State, d.Window, d.Connections, d.Queued, d.Success.IsZero()))
		}
		want := []string{
			"(local) [] up 4 0 0 true",
			"failing.test [failing.test] dead 0 0 0 false",
			"mx.big.test [one.test two.test] unknown 2 2 2 true",
			"slow-dns.test [] lookup 0 0 1 true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		close(end)
		close(ask)
		down.Store(false)
		w.until("idle", time.Hour, w.idle)
		list, err = w.runner.Destinations(t.Context())
		if i := slices.IndexFunc(list, func(d control.Destination) bool { return d.Name == "mx.big.test" }); err != nil || i < 0 ||
			list[i].State != control.DestUp || list[i].Window < 3 || list[i].Connections != 0 || list[i].Success.IsZero() {
			t.Errorf("got %+v, %v; want mx.big.test up, with a wider window", list, err)
		}
		w.close()
		if list, err := w.runner.Destinations(t.Context()); !errors.Is(err, runner.ErrEnded) {
			t.Errorf("after the end: got %v, %v", list, err)
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
