package guard

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// Turns bounds how many do something costly at once, such as a TLS handshake, in all and for a client. Who comes when all
// places are taken waits; those that wait are served in their order, save that a client which has its share is passed over.
type Turns struct {
	max, perClient int

	mu      sync.Mutex // guards what follows
	taken   int
	clients map[netip.Prefix]int
	queue   []*waiter
}

type waiter struct {
	client netip.Prefix
	ready  chan struct{} // closed once it has its place
}

// NewTurns gives max places in all and perClient for a client; both are at least 1.
func NewTurns(max, perClient int) *Turns {
	return &Turns{max: max, perClient: perClient, clients: map[netip.Prefix]int{}}
}

// Wait returns once the peer has a place, or with ctx's error. The caller calls done once; a second call does nothing.
func (t *Turns) Wait(ctx context.Context, peer netip.Addr) (done func(), err error) {
	w := &waiter{Client(peer), make(chan struct{})}
	t.mu.Lock()
	t.queue = append(t.queue, w)
	t.serve()
	t.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		if i := slices.Index(t.queue, w); i >= 0 {
			t.queue = slices.Delete(t.queue, i, i+1)
		} else { // its place came just now
			t.leave(w.client)
		}
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.leave(w.client)
	}), nil
}

// serve gives places to those who wait.
func (t *Turns) serve() {
	rest := t.queue[:0]
	for _, w := range t.queue {
		if t.taken >= t.max || t.clients[w.client] >= t.perClient {
			rest = append(rest, w)
			continue
		}
		t.taken++
		t.clients[w.client]++
		close(w.ready)
	}
	clear(t.queue[len(rest):])
	t.queue = rest
}

func (t *Turns) leave(client netip.Prefix) {
	t.taken--
	if t.clients[client]--; t.clients[client] == 0 {
		delete(t.clients, client)
	}
	t.serve()
}
