package remote

import (
	"context"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta/smtpc"
)

// Bounds of the connections that wait for a message.
const (
	maxIdle    = 200             // in all
	maxIdleKey = 20              // to one host
	maxAge     = 5 * time.Minute // since it was made: addresses, certificates and policies change
)

// poolKey is what a message asks of a connection: what differs in it is no use to it.
type poolKey struct {
	host     string
	path     string
	port     uint16
	lmtp     bool
	implicit bool
	login    string
}

func (d *delivery) key(host string) poolKey {
	x := d.r.Dest
	return poolKey{host: host, path: x.Path, port: d.port(), lmtp: x.LMTP, implicit: x.Implicit, login: x.Login}
}

// session is a connection that is ready for MAIL.
type session struct {
	*smtpc.Client
	peer  peer
	key   poolKey
	pol   *policy // that it was made under
	note  error   // why it has no TLS
	since time.Time
	used  int // messages so far
	timer *time.Timer
}

// pool holds connections that wait. Every goroutine that it starts ends within the time that QUIT has.
type pool struct {
	mu     sync.Mutex // guards what follows
	idle   map[poolKey][]*session
	size   int
	closed bool

	quits sync.WaitGroup
}

// waits says whether there is a connection at all.
func (p *pool) waits(k poolKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle[k]) > 0
}

// take returns the connection under a policy that has waited for the shortest time, nil when there is none. One that was
// made under another policy is as good as none: what was proven then is not what must be proven now.
func (p *pool) take(k poolKey, policy string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle[k]) - 1; i >= 0; i-- {
		if s := p.idle[k][i]; s.pol.key == policy {
			p.drop(s, i)
			return s
		}
	}
	return nil
}

// drop takes the session at index i out. The lock is held.
func (p *pool) drop(s *session, i int) {
	list := p.idle[s.key]
	copy(list[i:], list[i+1:])
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) == 0 {
		delete(p.idle, s.key)
	} else {
		p.idle[s.key] = list
	}
	p.size--
	s.timer.Stop()
}

// put keeps a connection for the next message, or ends it when it has done its part.
func (p *pool) put(s *session, o *Options) {
	s.Bind(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed { // nobody waits for what begins now
		s.Close()
		return
	}
	if s.used >= o.ReuseMax || o.ReuseIdle <= 0 || o.Now().Sub(s.since) > maxAge || p.size >= maxIdle || len(p.idle[s.key]) >= maxIdleKey {
		p.quits.Go(s.Quit)
		return
	}
	p.idle[s.key] = append(p.idle[s.key], s)
	p.size++
	s.timer = time.AfterFunc(o.ReuseIdle, func() { p.expire(s) })
}

func (p *pool) expire(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.idle[s.key] {
		if x == s {
			p.drop(s, i)
			p.quits.Go(s.Quit)
			return
		}
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, list := range p.idle {
		for _, s := range list {
			s.timer.Stop()
			p.quits.Go(s.Quit)
		}
	}
	clear(p.idle)
	p.size = 0
	p.mu.Unlock()
	p.quits.Wait()
}

// reuse sends the message on connections to hosts of a group that wait for one. That such a connection has been closed
// meanwhile says nothing about the host.
func (d *delivery) reuse(ctx context.Context, group []string) {
	if d.r.RequireTLS {
		return // whether the server promises the same is asked on a connection of its own
	}
	for _, host := range group {
		for len(d.open) > 0 && ctx.Err() == nil && d.c.pool.waits(d.key(host)) {
			pol, bad := d.policy(ctx, host)
			if bad != nil {
				break
			}
			s := d.c.pool.take(d.key(host), pol.key)
			if s == nil {
				break
			}
			s.Bind(ctx)
			if !s.Quiet() {
				s.Close()
				continue
			}
			d.use(ctx, s)
		}
	}
}
