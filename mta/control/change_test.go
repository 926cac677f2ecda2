package control

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// noting is a spool with all messages, and a schedule that notes which changes belong together.
type noting struct {
	bare
	mu     sync.Mutex
	orders map[any]int
}

func (n *noting) Find(mta.ID) *spool.Message { return new(spool.Message) }
func (n *noting) Flush() error               { return nil }

func (n *noting) Change(_ context.Context, _ *spool.Message, c Change) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.orders[c.Order]++
	return nil
}

// A command changes its messages in more requests than one.
func TestTheChangesOfOneCommandBelongTogether(t *testing.T) {
	n := &noting{orders: map[any]int{}}
	first := serve(t, NewServer(n, n))
	second := NewClient(first.path)
	defer second.Close()
	var ids []mta.ID
	for i := range MaxIDs {
		ids = append(ids, mta.ID(fmt.Sprintf("0123456789AB%04d", i)))
	}
	for _, c := range []*Client{first, first, first, second} {
		out, err := c.Change(t.Context(), Change{Op: Retry}, ids)
		if err != nil || len(out) != MaxIDs || out[0].Error != "" {
			t.Fatalf("got %d results, %v", len(out), err)
		}
	}
	counts := map[int]int{}
	for order, k := range n.orders {
		if order == nil {
			t.Error("changes of many messages stand alone")
		}
		counts[k]++
	}
	if len(n.orders) != 2 || counts[3*MaxIDs] != 1 || counts[MaxIDs] != 1 {
		t.Errorf("got %v, want two commands, of three requests and of one", n.orders)
	}
	clear(n.orders)
	for range 2 {
		if _, err := first.Change(t.Context(), Change{Op: Retry}, ids[:1]); err != nil {
			t.Fatal(err)
		}
	}
	if n.orders[nil] != 2 {
		t.Errorf("one message: got %v, want changes that stand alone", n.orders)
	}
}
