package host

import (
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// Status is what an operator is told of a filter. Times are in nanoseconds, in JSON too.
type Status struct {
	Name     string                   `json:"name"`
	State    string                   `json:"state"` // starting, running, replacing, down, ended
	Error    string                   `json:"error,omitempty"`
	Version  string                   `json:"version,omitempty"`
	Summary  string                   `json:"summary,omitempty"`
	Roles    []string                 `json:"roles,omitempty"` // none: all
	PID      int                      `json:"pid,omitempty"`
	Since    time.Time                `json:"since,omitzero"` // of the process
	Restarts int                      `json:"restarts"`
	Verdicts map[string]uint64        `json:"verdicts"`
	Stages   map[string]StageCounters `json:"stages"` // those that it wants, or was asked at
	P50      time.Duration            `json:"p50"`    // of the last calls
	P99      time.Duration            `json:"p99"`
}

// StageCounters count since smtpd began.
type StageCounters struct {
	Calls    uint64 `json:"calls"`
	Failures uint64 `json:"failures"`
}

// Status tells of each enabled filter, in their order.
func (h *Host) Status() []Status {
	var all []Status
	for _, s := range *h.chain.Load() {
		all = append(all, s.status())
	}
	return all
}

func (s *slot) status() Status {
	t := Status{Name: s.name, Verdicts: map[string]uint64{}, Stages: map[string]StageCounters{}}
	s.mu.Lock()
	t.State, t.Restarts = s.state, s.restarts
	if s.err != nil {
		t.Error = oneLine(s.err.Error(), 300)
	}
	p, known := s.proc, s.known
	s.mu.Unlock()
	if known != nil {
		t.Version, t.Summary, t.Roles = known.info.version, known.info.summary, known.info.roles
	}
	if p != nil {
		t.PID, t.Since = p.pid, p.started
	}
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	for stage, word := range stageNames {
		x := &c.at[stage]
		if x.calls+x.failures > 0 || known != nil && known.info.stages[stage] {
			t.Stages[word] = StageCounters{x.calls, x.failures}
		}
		for verdict, n := range x.verdicts {
			t.Verdicts[verdict] += n
		}
	}
	times := c.sorted()
	t.P50, t.P99 = quantile(times, 0.5), quantile(times, 0.99)
	return t
}

var stageNames = func() map[proto.Stage]string {
	names := map[proto.Stage]string{}
	for stage, wire := range wireStages {
		names[wire] = stage.String()
	}
	return names
}()
