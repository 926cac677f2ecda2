package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// change asks for a change of a message, as the control socket does.
func (w *world) change(id mta.ID, c control.Change) error {
	m := w.store.Find(id)
	if m == nil {
		return spool.ErrGone
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return w.runner.Change(ctx, m, c)
}

// state is where the schedule has a message.
func (w *world) state(id mta.ID) control.State {
	w.t.Helper()
	st, err := w.runner.States(context.Background(), []*spool.Message{w.store.Find(id)})
	if err != nil {
		w.t.Fatal(err)
	}
	return st[0]
}

// hung is a remote that answers when its channel is closed.
func hung(end <-chan struct{}) func(context.Context, runner.Transaction) []mta.Outcome {
	return func(ctx context.Context, t runner.Transaction) []mta.Outcome {
		select {
		case <-end:
		case <-ctx.Done():
		}
		return all(t, mta.Outcome{Status: mta.Delivered})
	}
}

func TestWhatWaitsInLineIsRemovedAndWhatIsUnderWayIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		end := make(chan struct{})
		w.remote.do = hung(end)
		w.begin()
		var ids []mta.ID
		for n := range 6 { // the site begins with 2
			ids = append(ids, w.send("s@away.test", fmt.Sprintf("r%d@far.test", n)))
		}
		w.until("under way", time.Minute, func() bool { return len(w.remote.tries()) == 2 })
		remove := control.Change{Op: control.Remove, Reason: "x"}
		busy, removed := 0, 0
		for _, id := range ids {
			switch err := w.change(id, remove); {
			case err == nil:
				removed++
			case errors.Is(err, control.ErrBusy):
				busy++
			default:
				t.Errorf("%s: %v", id, err)
			}
		}
		if busy != 2 || removed != 4 {
			t.Errorf("got %d busy and %d removed, want 2 and 4", busy, removed)
		}
		close(end)
		w.until("idle", time.Minute, w.idle)
		if got := w.remote.recipients(); len(got) != 2 {
			t.Errorf("delivered %v, want those two that were under way", got)
		}
		if n := len(w.log.named("delivered")); n != 2 {
			t.Errorf("got %d deliveries, want 2: an order that was given up must not be carried out", n)
		}
		if n := len(w.log.named("reported")); n != 0 {
			t.Errorf("got %d reports, want none", n)
		}
		w.close()
	})
}

func TestRetryWakesADeadSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		down := true
		w.remote.down = func(runner.Transaction) bool { return down }
		w.begin()
		id := w.send("s@away.test", "a@far.test")
		w.until("dead", time.Minute, func() bool { return len(w.log.named("dead")) == 1 })
		if st := w.state(id); st.Status != control.StatusDeferred || st.Site != "far.test" || st.Why == "" || time.Until(st.Due) > 2*time.Minute {
			t.Errorf("got %+v, want one that waits for the dead site", st)
		}
		synctest.Wait()
		down = false
		before := time.Now()
		if err := w.change(id, control.Change{Op: control.Retry}); err != nil {
			t.Fatal(err)
		}
		w.until("idle", 10*time.Second, w.idle)
		if took := time.Since(before); took > 10*time.Second {
			t.Errorf("delivered after %v, want at once", took)
		}
		w.close()
	})
}

// putOff sends messages to far.test, which is down, and waits until all are deferred.
func (w *world) putOff(messages int) (ids []mta.ID) {
	w.t.Helper()
	for i := range messages {
		ids = append(ids, w.send("s@away.test", fmt.Sprintf("a%d@far.test", i)))
	}
	w.until("all put off", time.Minute, func() bool { return len(w.log.named("deferred")) == len(ids) })
	synctest.Wait()
	return ids
}

// What an operator has tried before its time and fails is left alone for no longer than before, and is no news.
func TestRetriesOfADeadSiteDoNotKeepItDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		down := true
		w.remote.down = func(runner.Transaction) bool { return down }
		w.begin()
		ids := w.putOff(20)
		due, tries := w.state(ids[0]).Due, w.remote.count("far.test")
		for _, id := range ids {
			if err := w.change(id, control.Change{Op: control.Retry}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.until("tried", time.Minute, func() bool { return w.remote.count("far.test") >= tries+len(ids) })
		synctest.Wait()
		if n := len(w.log.named("dead")); n != 1 {
			t.Errorf("%d lines of its death, want one", n)
		}
		if st := w.state(ids[0]); st.Site != "far.test" || !st.Due.Equal(due) {
			t.Errorf("got %+v, want one that waits until %v as before", st, due)
		}
		down = false
		w.until("idle", 2*time.Minute, w.idle)
		w.close()
	})
}

// A command for all messages has each dead site tried once; when that fails, the others are as they were.
func TestARetryOfManyMessagesTriesADeadSiteOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		down := true
		w.remote.down = func(runner.Transaction) bool { return down }
		w.begin()
		ids := w.putOff(20)
		retry := func(order any) (due []time.Time) {
			for _, id := range ids {
				if err := w.change(id, control.Change{Op: control.Retry, Order: order}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			for _, id := range ids {
				st := w.state(id)
				if st.Status != control.StatusDeferred || st.Site != "far.test" {
					t.Errorf("%s: got %+v, want one that waits for the site", id, st)
				}
				due = append(due, st.Due)
			}
			return due
		}
		before := w.state(ids[0]).Due
		for n := range 3 {
			tries, lines := w.remote.count("far.test"), len(w.log.named("deferred"))
			for _, at := range retry(new(int)) {
				if !at.Equal(before) {
					t.Errorf("order %d: a message waits until %v, want %v as before", n, at, before)
				}
			}
			if got := w.remote.count("far.test") - tries; got != 1 {
				t.Errorf("order %d: got %d tries, want 1", n, got)
			}
			if got := len(w.log.named("deferred")) - lines; got != 1 {
				t.Errorf("order %d: %d recipients were deferred anew, want the one that was tried", n, got)
			}
		}
		for _, id := range ids {
			v, err := w.store.View(w.store.Find(id))
			if err != nil || v.Rcpts[0].Tries > 4 {
				t.Errorf("%s: got %+v, %v; want the tries that there were", id, v, err)
			}
		}
		down = false
		for _, id := range ids {
			if err := w.change(id, control.Change{Op: control.Retry, Order: t}); err != nil && !errors.Is(err, spool.ErrGone) && !errors.Is(err, control.ErrBusy) {
				t.Fatal(err)
			}
		}
		w.until("idle", 10*time.Second, w.idle)
		if n := len(w.log.named("delivered")); n != len(ids) {
			t.Errorf("got %d deliveries, want %d", n, len(ids))
		}
		w.close()
	})
}

func TestRetryTriesADeadSiteForAMessageThatWaitsForItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		down := false
		w.remote.do = busy
		w.remote.down = func(runner.Transaction) bool { return down }
		w.begin()
		id := w.send("s@away.test", "a@far.test")
		w.until("deferred", time.Minute, func() bool { return len(w.log.named("deferred")) == 1 })
		down = true
		w.send("s@away.test", "b@far.test")
		w.until("dead", time.Minute, func() bool { return len(w.log.named("dead")) == 1 })
		if st := w.state(id); st.Site != "" {
			t.Fatalf("got %+v, want one that does not wait for the site", st)
		}
		synctest.Wait()
		down, w.remote.do = false, nil
		before := time.Now()
		if err := w.change(id, control.Change{Op: control.Retry}); err != nil {
			t.Fatal(err)
		}
		w.until("delivered", 10*time.Second, func() bool { return len(w.log.named("delivered")) > 0 })
		if took := time.Since(before); took > 10*time.Second {
			t.Errorf("delivered after %v, want at once", took)
		}
		w.until("idle", time.Hour, w.idle)
		w.close()
	})
}

func TestRetryLeavesWhatTheSenderHasPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		at := time.Now().Add(time.Hour)
		id := w.commit(&mta.Envelope{Role: mta.RoleSubmission, Sender: address("s@here.test"), ReleaseAt: at, Rcpts: []mta.Recipient{{Address: address("a@far.test")}}})
		w.until("known", time.Minute, func() bool { return w.store.Find(id) != nil && w.state(id).Status == control.StatusDeferred })
		if err := w.change(id, control.Change{Op: control.Retry}); err == nil || !strings.Contains(err.Error(), "its sender wants it to leave at "+at.Local().Format(time.DateTime)) {
			t.Errorf("got %v, want an error with the time", err)
		}
		if n := len(w.remote.tries()); n != 0 {
			t.Errorf("got %d tries before the time, want none", n)
		}
		w.until("idle", 2*time.Hour, w.idle)
		w.close()
	})
}

func TestNothingFollowsFromAChangeThatDoesNotLastYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.down = func(runner.Transaction) bool { return true }
		w.begin()
		id := w.send("s@away.test", "a@far.test", "b@far.test")
		w.until("deferred", time.Minute, func() bool { return len(w.log.named("deferred")) == 2 })
		synctest.Wait()
		w.faults.set(errDisk, nil)
		if err := w.change(id, control.Change{Op: control.Redirect, To: address("new@here.test")}); err != nil {
			t.Fatal(err)
		}
		if err := w.store.Flush(); err == nil {
			t.Error("got no error of the flush, after which control says that it does not last")
		}
		time.Sleep(10 * time.Minute)
		if got := w.local.of("new@here.test"); len(got) != 0 {
			t.Errorf("got %d messages while the journal could not be written, want none", len(got))
		}
		w.faults.set(nil, nil)
		w.until("idle", time.Hour, w.idle)
		if got := w.local.of("new@here.test"); len(got) != 1 {
			t.Errorf("got %d messages, want 1", len(got))
		}
		w.close()
	})
}

func TestHoldAndRedirectOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		down := true
		w.remote.down = func(runner.Transaction) bool { return down }
		w.begin()
		id := w.send("s@away.test", "a@far.test", "b@far.test", "c@other.test")
		w.until("deferred", time.Minute, func() bool { return len(w.log.named("deferred")) == 3 })
		if err := w.change(id, control.Change{Op: control.Redirect, To: address("new@here.test")}); err != nil {
			t.Fatal(err)
		}
		w.until("delivered", time.Minute, w.idle)
		if got := w.local.of("new@here.test"); len(got) != 1 {
			t.Errorf("got %d messages, want 1 for three recipients", len(got))
		}
		id = w.send("s@away.test", "a@far.test")
		w.until("deferred", time.Minute, func() bool { return len(w.log.named("deferred")) == 4 })
		if err := w.change(id, control.Change{Op: control.Release}); err == nil {
			t.Error("release of one that is not held: got no error")
		}
		if err := w.change(id, control.Change{Op: control.Hold, Reason: "odd"}); err != nil {
			t.Fatal(err)
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		down = false
		w.begin()
		time.Sleep(6 * time.Hour) // many times what it would wait for its next try
		if v, err := w.store.View(w.store.Find(id)); err != nil || v.Hold != "odd" {
			t.Fatalf("after a restart: got %+v, %v; want it held", v, err)
		}
		if err := w.change(id, control.Change{Op: control.Release}); err != nil {
			t.Fatal(err)
		}
		w.until("delivered", time.Minute, w.idle)
		if n := len(w.log.named("delivered")); n != 2 {
			t.Errorf("got %d deliveries, want the redirected one and the released one", n)
		}
		w.close()
	})
}

func TestChangesAfterTheEndAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.down = func(runner.Transaction) bool { return true }
		w.begin()
		id := w.send("s@away.test", "a@far.test")
		w.until("deferred", time.Minute, func() bool { return len(w.log.named("deferred")) == 1 })
		m := w.store.Find(id)
		w.close()
		if err := w.runner.Change(context.Background(), m, control.Change{Op: control.Hold}); !errors.Is(err, runner.ErrEnded) {
			t.Errorf("got %v, want ErrEnded", err)
		}
	})
}
