package guard_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
)

func TestTurnsAreTakenInOrderAndSharedAmongClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := guard.NewTurns(3, 2)
		var order []string
		leave := map[string]func(){}
		come := func(name, peer string) {
			go func() {
				done, err := turns.Wait(t.Context(), addr(peer))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				order, leave[name] = append(order, name), done
			}()
			synctest.Wait()
		}
		come("a1", "192.0.2.1")
		come("a2", "192.0.2.1")
		come("a3", "192.0.2.1") // has its share
		come("b1", "192.0.2.2")
		come("c1", "192.0.2.3") // all are taken
		b1 := leave["b1"]       // once: whoever comes next writes to leave
		b1()
		b1()
		synctest.Wait()
		leave["a1"]()
		synctest.Wait()
		want := []string{"a1", "a2", "b1", "c1", "a3"}
		if len(order) != len(want) {
			t.Fatalf("got %q, want %q", order, want)
		}
		for i := range want {
			if order[i] != want[i] {
				t.Errorf("got %q, want %q", order, want)
				break
			}
		}
		for _, name := range []string{"a2", "a3", "c1"} {
			leave[name]()
		}
		if n, c, w := turns.State(); n+c+w != 0 {
			t.Errorf("got %d places of %d clients taken and %d waiting at the end", n, c, w)
		}
	})
}

func TestWhoWaitsTooLongLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := guard.NewTurns(1, 1)
		done, err := turns.Wait(t.Context(), addr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.Wait(ctx, addr("192.0.2.2")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline's error", err)
		}
		done()
		if n, c, w := turns.State(); n+c+w != 0 {
			t.Errorf("got %d places of %d clients taken and %d waiting at the end", n, c, w)
		}
	})
}

func TestNeverMoreThanTheBoundHaveATurn(t *testing.T) {
	turns := guard.NewTurns(4, 3)
	var now, most atomic.Int32
	finished := make(chan struct{})
	for i := range 200 {
		go func() {
			defer func() { finished <- struct{}{} }()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 0 {
				go cancel() // some give up, at any moment
			}
			done, err := turns.Wait(ctx, addr([]string{"192.0.2.1", "192.0.2.2", "::1"}[i%3]))
			if err != nil {
				return
			}
			for n := now.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			now.Add(-1)
			done()
		}()
	}
	for range 200 {
		<-finished
	}
	if n, c, w := turns.State(); most.Load() > 4 || n+c+w != 0 {
		t.Errorf("got %d at once, %d places of %d clients taken and %d waiting at the end; want 4 at most and none", most.Load(), n, c, w)
	}
}
