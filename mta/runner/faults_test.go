package runner_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

func TestDisksThatFailLoseNothingAndDeliverNothingTwice(t *testing.T) {
	for name, bad := range map[string]func(f *faults){
		"journal":     func(f *faults) { f.set(errDisk, nil) },
		"filesystems": func(f *faults) { f.set(nil, errDisk) },
		"all":         func(f *faults) { f.set(errDisk, errDisk) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.router.aliases["list@here.test"] = []string{"alice@here.test", "y@far.test"}
				w.router.gone["gone@here.test"] = true
				var n atomic.Int32
				w.remote.do = func(ctx context.Context, t runner.Transaction) []mta.Outcome {
					if n.Add(1)%2 == 1 {
						return busy(ctx, t)
					}
					return all(t, mta.Outcome{Status: mta.Delivered})
				}
				w.begin()
				defer w.close()
				w.send("alice@here.test", "bob@here.test", "x@far.test", "list@here.test", "gone@here.test")
				bad(w.faults)
				time.Sleep(10 * time.Minute)
				w.faults.set(nil, nil)
				w.until("finished", 24*time.Hour, w.idle)
				if got := len(w.local.of("bob@here.test")); got != 1 {
					t.Errorf("bob got %d messages, want 1", got)
				}
				if got := len(w.local.of("alice@here.test")); got != 2 {
					t.Errorf("alice got %d messages, want 2: the list's and a report", got)
				}
				if name == "filesystems" && w.local.redo == 0 {
					t.Error("nothing was written anew after the mailboxes' sync had failed")
				}
				if got := fmt.Sprint(w.log.named("delivered")); strings.Count(got, "to=<y@far.test>") != 1 || strings.Count(got, "to=<x@far.test>") != 1 {
					t.Errorf("delivered: %s", got)
				}
			})
		})
	}
}

func TestLostDeliveryIsMadeAnewThoughTheMessageHasATransactionUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			time.Sleep(10 * time.Minute)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		defer w.close()
		w.faults.set(nil, errDisk)
		w.send("alice@here.test", "bob@here.test", "x@far.test")
		time.Sleep(time.Minute)
		w.faults.set(nil, nil)
		w.until("finished", time.Hour, w.idle)
		if w.local.redo != 1 {
			t.Errorf("written anew %d times, want once", w.local.redo)
		}
	})
}

func TestWaitingMessageLeavesItsSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = busy
		w.begin()
		id := w.send("alice@here.test", "x@far.test")
		w.writer.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		left := fmt.Sprint(w.left())
		if strings.Contains(left, "incoming/") || !strings.Contains(left, "/"+string(id)+" ") {
			t.Errorf("after a minute: %s, want the deferred file alone", left)
		}
		w.close()
	})
}

func TestReportThatCouldNotBeMadeIsMadeByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = refuse
		w.wrap = func(s *spool.Store) runner.Store { return full{s} }
		w.begin()
		w.send("alice@here.test", "x@far.test")
		w.until("postponed", time.Minute, func() bool { return len(w.log.named("postponed")) > 1 })
		w.end()
		w.wrap = func(s *spool.Store) runner.Store { return s }
		w.begin()
		defer w.close()
		w.until("finished", time.Minute, w.idle)
		if got := len(w.local.of("alice@here.test")); got != 1 {
			t.Errorf("the sender got %d reports, want 1", got)
		}
	})
}

// full is a store that has no room for reports.
type full struct{ *spool.Store }

func (full) Report(*spool.Message, spool.Telling, spool.Build) (*spool.Message, error) {
	return nil, spool.ErrFull
}

func TestDamagedMessageIsLeftWhereItIsAndLookedAtEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := &damaged{bad: true}
		w.wrap = func(s *spool.Store) runner.Store { d.Store = s; return d }
		w.begin()
		defer w.close()
		start := time.Now()
		id := w.send("alice@here.test", "bob@here.test")
		w.until("looked at for a while", 6*time.Hour, func() bool { return len(w.log.named("unreadable")) == 4 })
		if got := w.log.named("unreadable")[0]; !strings.Contains(got, string(id)) {
			t.Errorf("event %q lacks the id", got)
		}
		if d := time.Since(start); d < 3*time.Hour {
			t.Errorf("four looks within %v", d)
		}
		d.mend()
		w.until("finished", 2*time.Hour, w.idle)
		if got := len(w.local.of("bob@here.test")); got != 1 {
			t.Errorf("bob got %d messages, want 1", got)
		}
	})
}

type damaged struct {
	*spool.Store
	mu  sync.Mutex // guards bad
	bad bool
}

func (d *damaged) mend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad = false
}

func (d *damaged) Load(m *spool.Message) (*spool.Loaded, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad {
		return nil, fmt.Errorf("deferred file: %w", spool.ErrCorrupt)
	}
	return d.Store.Load(m)
}

func TestStopWaitsForDeliveriesAndRecordsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			time.Sleep(20 * time.Second)
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		w.send("alice@here.test", "bob@far.test")
		w.until("under way", time.Minute, func() bool { return len(w.remote.tries()) == 1 })
		start := time.Now()
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 10*time.Second || d > w.set.Drain {
			t.Errorf("the end took %v", d)
		}
		w.begin()
		defer w.close()
		w.until("ready", time.Minute, func() bool { return w.idle() })
		if n := len(w.remote.tries()); n != 1 {
			t.Errorf("delivered %d times, want once", n)
		}
	})
}

func TestDeliveryThatIsCutAtTheEndDoesNotCountAsATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hang := true
		w.remote.do = func(ctx context.Context, t runner.Transaction) []mta.Outcome {
			if hang {
				<-ctx.Done()
				return all(t, mta.Outcome{Code: 451, Cause: ctx.Err()})
			}
			return all(t, mta.Outcome{Status: mta.Delivered})
		}
		w.begin()
		w.send("alice@here.test", "bob@far.test")
		w.until("under way", time.Minute, func() bool { return len(w.remote.tries()) == 1 })
		start := time.Now()
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != w.set.Drain {
			t.Errorf("cut after %v, want %v", d, w.set.Drain)
		}
		if got := len(w.log.named("cut")); got != 1 || len(w.log.named("deferred")) != 0 {
			t.Errorf("%d cut events:\n%s", got, w.log)
		}
		hang = false
		w.begin()
		defer w.close()
		w.until("finished", time.Minute, w.idle)
	})
}

func TestMailboxThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bad := true
		w.local.do = func(r local.Request) mta.Outcome {
			if bad {
				return mta.Outcome{Code: 451, Text: "the mailbox cannot be written to at the moment", Cause: errDisk}
			}
			if !r.Look {
				t.Error("no look for what the failed attempt may have left")
			}
			return mta.Outcome{Status: mta.Delivered}
		}
		w.begin()
		defer w.close()
		w.send("alice@here.test", "bob@here.test")
		w.until("deferred", time.Minute, func() bool { return len(w.log.named("deferred")) == 1 })
		w.local.mu.Lock()
		bad = false
		w.local.mu.Unlock()
		w.until("finished", time.Hour, w.idle)
		if got := len(w.local.of("bob@here.test")); got != 1 {
			t.Errorf("bob got %d messages, want 1", got)
		}
	})
}
