package dns

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxAliases bounds a chain of CNAMEs, over all questions that one lookup asks.
const maxAliases = 8

// lookup answers a question from the cache or the servers and follows aliases. The records are of the asked type only,
// at least one unless err is set.
func (r *Resolver) lookup(ctx context.Context, name string, t rrtype) ([]record, error) {
	recs, _, err := r.trace(ctx, name, t)
	return recs, err
}

// trace is lookup with the way to the answer, which an answer without records has too.
func (r *Resolver) trace(ctx context.Context, name string, t rrtype) ([]record, Path, error) {
	name, err := ascii(name)
	if err != nil {
		return nil, Path{}, err
	}
	q := question{name, t}
	e, ok := r.cache.get(q, r.opt.Now())
	if !ok {
		if e, err = r.resolve(ctx, q); err != nil {
			return nil, Path{End: name}, fmt.Errorf("look up %s of %s: %w", t, name, err)
		}
		r.cache.put(q, e, r.opt.Now())
	}
	path := Path{e.end, e.secure}
	if e.err != nil {
		return nil, path, fmt.Errorf("look up %s of %s: %w", t, name, e.err)
	}
	return e.recs, path, nil
}

// resolve asks the servers, again for the end of an alias when the answer stops there. Its error is temporary; that
// there is nothing stands in the entry.
func (r *Resolver) resolve(ctx context.Context, q question) (entry, error) {
	ttl, secure := r.opt.MaxTTL, r.trusted
	links := 0
	for {
		m, err := r.ask(ctx, q)
		if err != nil {
			return entry{}, err
		}
		end, recs, n, least := m.follow(q, maxAliases-links)
		if links += n; links >= maxAliases {
			return entry{}, errors.New("chain of aliases too long, or going round")
		}
		ttl, secure = min(ttl, least), secure && m.secure
		e := entry{recs: recs, end: end, secure: secure}
		switch {
		case len(recs) > 0:
			return r.until(e, ttl), nil
		case m.nxdomain:
			e.err = ErrNotFound
			return r.until(e, min(ttl, m.negTTL, r.opt.MaxNeg)), nil
		case n == 0 || m.soa:
			e.err = ErrNoData
			return r.until(e, min(ttl, m.negTTL, r.opt.MaxNeg)), nil
		}
		q.name = end
	}
}

func (r *Resolver) until(e entry, ttl time.Duration) entry {
	e.until = r.opt.Now().Add(ttl)
	return e
}

// ask puts the question to each server in turn, a few rounds, until one gives a usable answer.
func (r *Resolver) ask(ctx context.Context, q question) (*answer, error) {
	var last error
	for range r.opt.Attempts {
		for _, s := range r.servers {
			m, err := r.askOne(ctx, s, q)
			if err == nil {
				return m, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			last = fmt.Errorf("server %s: %w", s, err)
		}
	}
	return nil, last
}

// askOne asks over UDP, without EDNS where the server does not know it, and over TCP when the answer did not fit.
func (r *Resolver) askOne(ctx context.Context, server string, q question) (*answer, error) {
	m, err := exchange(ctx, "udp", server, q, true, r.opt.Timeout)
	edns := true
	if errors.Is(err, errFormat) {
		edns = false
		m, err = exchange(ctx, "udp", server, q, edns, r.opt.Timeout)
	}
	if err == nil && m.truncated {
		return exchange(ctx, "tcp", server, q, edns, r.opt.Timeout)
	}
	return m, err
}
