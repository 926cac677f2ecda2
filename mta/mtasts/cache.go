package mtasts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

const (
	maxMemory  = 10000            // policies, and failed fetches, that are held in memory
	retryAfter = 10 * time.Minute // a policy that could not be fetched is not asked for again before (RFC 8461 3.3: 5 min)
)

// Resolver asks for the record; *dns.Resolver is one. Its errors are those of package dns.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
}

// Options of a Cache; those without a comment, and Dir, are needed.
type Options struct {
	Dir      string // where policies are kept; made by Open
	ReadOnly bool   // what is in Dir is used, and nothing there is changed: it belongs to another program
	Resolver Resolver
	TLS      *tls.Config // to verify the host of a policy with (RFC 8461 3.3)
	Dial     func(ctx context.Context, network, hostPort string) (net.Conn, error)
	Log      *maillog.Log
	Now      func() time.Time // nil: time.Now
}

// Cache knows policies. It is safe for use by many goroutines.
type Cache struct {
	opt   Options
	http  *http.Client
	group singleflight.Group

	mu     sync.Mutex // guards what follows
	known  map[string]*entry
	failed map[string]failure // by domain
}

// failure is a fetch that did not work.
type failure struct {
	id  string
	at  time.Time
	err error
}

// Open returns the Cache that keeps its policies in a folder.
func Open(o Options) (*Cache, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if !o.ReadOnly {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	return &Cache{opt: o, http: newClient(o), known: map[string]*entry{}, failed: map[string]failure{}}, nil
}

// Get returns the policy that is in force for a domain, in lower case and A-labels; nil: none. An error beside it says why
// a policy that the domain announces is not the one that is used: it is ErrFetch or ErrInvalid, and no reason not to deliver
// (RFC 8461 3.3). Where the record cannot be looked up or is gone, what was kept stays in force until its time is over.
func (c *Cache) Get(ctx context.Context, domain string) (*Policy, error) {
	kept := c.kept(domain)
	texts, err := c.opt.Resolver.TXT(ctx, "_mta-sts."+domain)
	id, announced := parseRecord(texts)
	if err != nil || !announced || kept != nil && kept.ID == id {
		c.use(kept)
		return kept.policyInForce(), nil
	}
	fresh, err := c.update(ctx, domain, id)
	if err != nil {
		c.use(kept)
		return kept.policyInForce(), err
	}
	return fresh.policyInForce(), nil
}

// update fetches a policy and keeps it; callers that come meanwhile share the result.
func (c *Cache) update(ctx context.Context, domain, id string) (*entry, error) {
	if err := c.failedLately(domain, id); err != nil {
		return nil, err
	}
	ch := c.group.DoChan(domain, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return c.fetchAndKeep(ctx, domain, id)
	})
	select {
	case r := <-ch:
		e, _ := r.Val.(*entry)
		return e, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrFetch, context.Cause(ctx))
	}
}

func (c *Cache) fetchAndKeep(ctx context.Context, domain, id string) (*entry, error) {
	text, err := c.fetch(ctx, domain)
	var p *Policy
	if err == nil {
		p, err = ParsePolicy(text)
	}
	if err != nil {
		c.fail(domain, id, err)
		return nil, err
	}
	e := &entry{Domain: domain, ID: id, Fetched: c.opt.Now(), Text: text, policy: p}
	if err := c.save(e); err != nil {
		c.opt.Log.MTASTSError(domain, "keep", err) // it holds until the next start
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, domain)
	c.remember(e)
	c.opt.Log.MTASTSFetched(domain, id, string(p.Mode), p.MaxAge)
	return e, nil
}

// fail remembers a failure; the log says it once as long as the record stays the same.
func (c *Cache) fail(domain, id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxMemory {
		clear(c.failed) // they are asked for again, at the worst
	}
	if old, ok := c.failed[domain]; !ok || old.id != id {
		c.opt.Log.MTASTSError(domain, "fetch", err)
	}
	c.failed[domain] = failure{id: id, at: c.opt.Now(), err: err}
}

func (c *Cache) failedLately(domain, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.failed[domain]
	if !ok || f.id != id || c.opt.Now().Sub(f.at) >= retryAfter {
		return nil
	}
	return f.err
}

// kept returns what is kept of a domain, nil when there is nothing or its time is over.
func (c *Cache) kept(domain string) *entry {
	c.mu.Lock()
	e := c.known[domain]
	c.mu.Unlock()
	if e == nil {
		var err error
		if e, err = c.load(domain); err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				c.opt.Log.MTASTSError(domain, "read", err)
			}
			return nil
		}
		c.mu.Lock()
		c.remember(e)
		c.mu.Unlock()
	}
	if e.expired(c.opt.Now()) {
		return nil
	}
	return e
}

// remember holds an entry in memory. The lock is held.
func (c *Cache) remember(e *entry) {
	if len(c.known) >= maxMemory {
		clear(c.known) // the files have them
	}
	c.known[e.Domain] = e
}

var _ Resolver = (*dns.Resolver)(nil)
