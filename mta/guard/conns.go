// Package guard holds what keeps one client from taking all: bounds on connections, and delays that grow with failed
// logins. smtpd and pop3d ask it before they serve. A client is an IPv4 address or an IPv6 /64, which is what one customer
// has at the least (RFC 6177). All memory is bounded.
package guard

import (
	"errors"
	"net/netip"
	"sync"
)

// Errors of Admit; the caller answers with a temporary refusal.
var (
	// ErrTotal says that the server has as many connections as it may have.
	ErrTotal = errors.New("too many connections")
	// ErrClient says that this client has as many as one may have.
	ErrClient = errors.New("too many connections from this client")
)

// Conns counts connections.
type Conns struct {
	max, perClient int

	mu      sync.Mutex // guards total and clients
	total   int
	clients map[netip.Prefix]int // only clients that are connected
}

// NewConns bounds connections to max in all and perClient for a client; 0 is no bound.
func NewConns(max, perClient int) *Conns {
	return &Conns{max: max, perClient: perClient, clients: map[netip.Prefix]int{}}
}

// Admit counts a connection in, or returns ErrTotal or ErrClient. The caller calls release once the connection is over; a
// second call does nothing. The zero Addr, a peer on this host's sockets, counts in all only.
func (c *Conns) Admit(peer netip.Addr) (release func(), err error) {
	key := Client(peer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.max > 0 && c.total >= c.max {
		return nil, ErrTotal
	}
	if key.IsValid() {
		if c.perClient > 0 && c.clients[key] >= c.perClient {
			return nil, ErrClient
		}
		c.clients[key]++
	}
	c.total++
	return sync.OnceFunc(func() { c.release(key) }), nil
}

func (c *Conns) release(key netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if !key.IsValid() {
		return
	}
	if c.clients[key]--; c.clients[key] == 0 {
		delete(c.clients, key)
	}
}

// Total returns how many connections there are.
func (c *Conns) Total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Client returns what counts as one client: the IPv4 address (also out of an IPv4-mapped one) or the IPv6 /64; the zero
// Prefix for the zero Addr.
func Client(peer netip.Addr) netip.Prefix {
	peer = peer.Unmap().WithZone("")
	bits := 64
	if peer.Is4() {
		bits = 32
	}
	p, err := peer.Prefix(bits)
	if err != nil { // the zero Addr
		return netip.Prefix{}
	}
	return p
}
