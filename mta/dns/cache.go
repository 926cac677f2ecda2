package dns

import (
	"sync"
	"time"
)

type question struct {
	name string // lower case, A-labels, no final dot
	kind rrtype
}

// entry is an answer, or that there is none: err is then ErrNotFound or ErrNoData.
type entry struct {
	recs   []record
	err    error
	until  time.Time
	end    string // where the aliases end
	secure bool   // every answer on the way there was; only what a trusted server says
}

// cache holds at most max entries; the zero or negative max holds none.
type cache struct {
	max     int
	mu      sync.Mutex // guards entries
	entries map[question]entry
}

func (c *cache) get(q question, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if ok && !now.Before(e.until) {
		delete(c.entries, q)
		return entry{}, false
	}
	return e, ok
}

func (c *cache) put(q question, e entry, now time.Time) {
	if c.max <= 0 || !now.Before(e.until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[q]; !ok && len(c.entries) >= c.max {
		c.evict(now)
	}
	c.entries[q] = e
}

// evict looks at a few entries, in the map's random order, and drops the dead ones; if none of them is, the one that
// would die first goes. The work is the same however large the cache is.
func (c *cache) evict(now time.Time) {
	const sample = 8
	var victim question
	var first time.Time
	seen, dead := 0, 0
	for q, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, q)
			dead++
		} else if first.IsZero() || e.until.Before(first) {
			victim, first = q, e.until
		}
		if seen++; seen == sample {
			break
		}
	}
	if dead == 0 {
		delete(c.entries, victim)
	}
}
