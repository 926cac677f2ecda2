package host

import (
	"slices"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// stages are those of a session, as they are counted.
const stages = int(proto.Stage_STAGE_DONE)

// kept is how many of the last calls' times are remembered.
const kept = 512

// counters are what happened to a filter since smtpd began.
type counters struct {
	mu       sync.Mutex // guards below
	calls    [stages]uint64
	failures [stages]uint64
	verdicts map[string]uint64
	times    [kept]time.Duration
	next     int
}

func (c *counters) called(stage proto.Stage, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[stage]++
	c.times[c.next%kept] = d
	c.next++
}

func (c *counters) fail(stage proto.Stage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[stage]++
}

func (c *counters) decided(verdict string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdicts == nil {
		c.verdicts = map[string]uint64{}
	}
	c.verdicts[verdict]++
}

// quantile returns how long calls took, of the last ones: q of them were no longer.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (c *counters) sorted() []time.Duration {
	list := slices.Clone(c.times[:min(c.next, kept)])
	slices.Sort(list)
	return list
}
