package guard

import (
	"net/netip"
	"sync"
	"time"
)

// unknownGrace is how many unknown recipients cost nothing: a mailing list may have that many who have left.
const unknownGrace = 5

// UnknownDelay remembers which clients name recipients that do not exist: who tries names until one does is slowed as
// who tries passwords is. It is safe for use by many goroutines.
type UnknownDelay struct {
	now func() time.Time

	mu      sync.Mutex // guards clients
	clients map[netip.Prefix]failures
}

// NewUnknownDelay returns an empty memory; now is the clock, nil = time.Now.
func NewUnknownDelay(now func() time.Time) *UnknownDelay {
	if now == nil {
		now = time.Now
	}
	return &UnknownDelay{now: now, clients: map[netip.Prefix]failures{}}
}

// Unknown counts an unknown recipient and returns how long the client waits for the answer: nothing for the first few,
// then a second, doubled by each, 30 seconds at most. Each five minutes without one halve what is remembered.
func (d *UnknownDelay) Unknown(client netip.Addr) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	key, now := Client(client), d.now()
	if !key.IsValid() {
		return 0
	}
	count(d.clients, key, now)
	return grow(d.clients[key].n-unknownGrace, maxClientDelay)
}
