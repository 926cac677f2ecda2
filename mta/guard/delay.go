package guard

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// How failed logins slow a client and a login down. A client's first failure costs a second, each further one twice as much.
// A login is slowed later and less, for its owner suffers with it; a client that has logged in as it is spared that.
// Each forgetAfter without a failure halves what is remembered.
const (
	firstDelay     = time.Second
	maxClientDelay = 30 * time.Second
	maxLoginDelay  = 8 * time.Second
	loginGrace     = 5
	maxFailures    = 16
	forgetAfter    = 5 * time.Minute
	maxRemembered  = 1 << 16 // entries in each table
)

// LoginDelay remembers failed logins. It is safe for use by many goroutines.
type LoginDelay struct {
	now  func() time.Time
	seed maphash.Seed

	mu      sync.Mutex // guards the tables
	clients map[netip.Prefix]failures
	logins  map[uint64]failures // by hash: what a client sends as a login may be long
	friends map[friend]failures // pairs that have worked
	shared  *Shared             // nil: this host counts for itself
}

// failures is a count at a time; the count halves as time goes by.
type failures struct {
	n  int
	at time.Time
}

type friend struct {
	client netip.Prefix
	login  uint64
}

// NewLoginDelay returns an empty memory; now is the clock, nil = time.Now.
func NewLoginDelay(now func() time.Time) *LoginDelay {
	if now == nil {
		now = time.Now
	}
	return &LoginDelay{now: now, seed: maphash.MakeSeed(), clients: map[netip.Prefix]failures{}, logins: map[uint64]failures{},
		friends: map[friend]failures{}}
}

// Share counts failures in a place of several hosts as well from now on; nil ends it. Which clients are spared each host knows for
// itself.
func (d *LoginDelay) Share(s *Shared) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shared = s
}

// Delay returns how long to wait before a password is checked: the longer of the client's and the login's delay, at most 30
// seconds.
func (d *LoginDelay) Delay(client netip.Addr, login string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.delay(Client(client), login, false)
}

// Failed counts a refused password and returns how long to wait before the client is told: a client that tries many
// at once over several connections waits in each.
func (d *LoginDelay) Failed(client netip.Addr, login string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, key := d.now(), Client(client)
	if key.IsValid() {
		count(d.clients, key, now)
	}
	count(d.logins, d.hash(login), now)
	return d.delay(key, login, true)
}

// delay is what the failures cost that are known here, or to all hosts where those are more. The mutex is let go while others are
// asked.
func (d *LoginDelay) delay(client netip.Prefix, login string, failed bool) time.Duration {
	now, name := d.now(), d.hash(login)
	ofClient, ofLogin := d.clients[client].decayed(now).n, d.logins[name].decayed(now).n
	if shared := d.shared; shared != nil {
		d.mu.Unlock()
		c, l, _ := shared.failed(client, login, failed)
		d.mu.Lock()
		ofClient, ofLogin = max(ofClient, c), max(ofLogin, l)
	}
	wait := grow(ofClient, maxClientDelay)
	if d.friends[friend{client, name}].decayed(now).n > 0 {
		return wait
	}
	return max(wait, grow(ofLogin-loginGrace, maxLoginDelay))
}

// Succeeded forgets the client's failures, unless another login of the same client failed often: one good account does not
// buy free guesses at others. It spares the client the login's delay from now on.
func (d *LoginDelay) Succeeded(client netip.Addr, login string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, key, name := d.now(), Client(client), d.hash(login)
	if f := d.clients[key].decayed(now); f.n <= loginGrace {
		delete(d.clients, key)
	}
	delete(d.friends, friend{key, name})
	store(d.friends, friend{key, name}, failures{maxFailures, now}, now)
	if shared := d.shared; shared != nil {
		d.mu.Unlock()
		shared.forgive(key)
		d.mu.Lock()
	}
}

func (d *LoginDelay) hash(login string) uint64 { return maphash.String(d.seed, strings.ToLower(login)) }

// grow doubles the first delay for each failure after the first, up to the bound.
func grow(n int, bound time.Duration) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(firstDelay<<(min(n, maxFailures)-1), bound)
}

// decayed returns what is left of f now.
func (f failures) decayed(now time.Time) failures {
	halves := int64(now.Sub(f.at) / forgetAfter)
	if f.n == 0 || halves <= 0 {
		return f
	}
	return failures{f.n >> min(halves, maxFailures), f.at.Add(time.Duration(halves) * forgetAfter)}
}

func count[K comparable](m map[K]failures, k K, now time.Time) {
	f := m[k].decayed(now)
	store(m, k, failures{min(f.n+1, maxFailures), now}, now)
}

// store keeps a table at its bound: what is forgotten goes first, and else the least of a few (a map's order is random),
// so that new names do not push out those who fail most.
func store[K comparable](m map[K]failures, k K, f failures, now time.Time) {
	const sample = 16
	if _, ok := m[k]; !ok && len(m) >= maxRemembered {
		var least K
		n, seen := maxFailures+1, 0
		for old, g := range m {
			if left := g.decayed(now).n; left < n {
				least, n = old, left
			}
			if seen++; seen == sample || n == 0 {
				break
			}
		}
		delete(m, least)
	}
	m[k] = f
}
