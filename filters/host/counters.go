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

// bounds are those of the buckets of how long calls take, in seconds.
var bounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// counters are what happened to a filter since smtpd began.
type counters struct {
	mu    sync.Mutex // guards below
	at    [stages]tally
	times [kept]time.Duration
	next  int
}

// tally is what happened at one stage.
type tally struct {
	calls, failures uint64
	seconds         float64
	buckets         [len(bounds)]uint64 // calls that took no longer than the bound, and longer than the one before
	verdicts        map[string]uint64
}

func (c *counters) called(stage proto.Stage, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.at[stage]
	t.calls++
	t.seconds += d.Seconds()
	if i, _ := slices.BinarySearch(bounds[:], d.Seconds()); i < len(bounds) {
		t.buckets[i]++
	}
	c.times[c.next%kept] = d
	c.next++
}

func (c *counters) fail(stage proto.Stage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[stage].failures++
}

func (c *counters) decided(stage proto.Stage, verdict string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.at[stage]
	if t.verdicts == nil {
		t.verdicts = map[string]uint64{}
	}
	t.verdicts[verdict]++
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
