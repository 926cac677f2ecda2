package runner_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

func TestTheQueueIsToldOfEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			return all(t, mta.Outcome{Status: mta.Deferred, Code: 450})
		}
		var mu sync.Mutex
		var last mta.QueueStatus
		told, bad := 0, error(nil)
		w.set.Publish = func(st mta.QueueStatus) error {
			mu.Lock()
			defer mu.Unlock()
			last, told = st, told+1
			return bad
		}
		now := func() (mta.QueueStatus, int) {
			mu.Lock()
			defer mu.Unlock()
			return last, told
		}
		w.begin()
		defer w.close()
		synctest.Wait()
		if st, n := now(); n != 1 || st.Messages != 0 || !st.Oldest.IsZero() {
			t.Errorf("at first: got %+v after %d, want an empty queue, once", st, n)
		}
		first := w.send("a@away.test", "x@far.test").Time() // ids only rise, whatever year the test before was in
		time.Sleep(time.Second)
		w.send("a@away.test", "y@far.test")
		time.Sleep(12 * time.Second)
		synctest.Wait()
		st, n := now()
		if n != 2 || st.Messages != 2 || st.Oldest.Sub(first).Abs() > time.Millisecond || time.Since(st.At) > mta.QueueStatusEvery {
			t.Errorf("got %+v after %d, want two messages from %v", st, n, first)
		}
		mu.Lock()
		bad = errors.New("no room")
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, n := now(); n != 8 {
			t.Errorf("a minute later: told %d times, want 8", n)
		}
		if got := len(w.log.named("stalled")); got != 1 {
			t.Errorf("got %d events stalled, want one of all the failures", got)
		}
	})
}
