package tlsrpt

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Bounds of a day's counters. What is beyond them is counted in the sums as far as there are any.
const (
	maxDomains  = 20000
	maxPolicies = 20 // a domain: each MX host has TLSA records of its own
	maxDetails  = 50 // a policy
	maxReason   = 200
)

// detail is one line of the failures of a policy.
type detail struct {
	Failure
	Count int64 `json:"failed-session-count"`
}

// tally is one policy of a domain.
type tally struct {
	Policy  Policy   `json:"policy"`
	OK      int64    `json:"ok,omitempty"`
	Failed  int64    `json:"failed,omitempty"`
	Details []detail `json:"details,omitempty"`
}

// day is what is counted from midnight to midnight, UTC.
type day struct {
	Start   time.Time           `json:"start"`
	Domains map[string][]*tally `json:"domains"`
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func (d *day) end() time.Time { return d.Start.Add(24 * time.Hour) }

// count adds a session.
func (d *day) count(s Session) {
	list, ok := d.Domains[s.Domain]
	if !ok && len(d.Domains) >= maxDomains {
		return
	}
	for _, r := range s.Results {
		t := find(list, r.Policy)
		if t == nil {
			if len(list) >= maxPolicies {
				continue
			}
			t = &tally{Policy: r.Policy}
			list = append(list, t)
		}
		t.count(r.Failure)
	}
	if len(list) > 0 {
		d.Domains[s.Domain] = list
	}
}

func find(list []*tally, p Policy) *tally {
	for _, t := range list {
		q := t.Policy
		if q.Type == p.Type && q.Domain == p.Domain && slices.Equal(q.Lines, p.Lines) && slices.Equal(q.MX, p.MX) {
			return t
		}
	}
	return nil
}

func (t *tally) count(f *Failure) {
	if f == nil {
		t.OK++
		return
	}
	t.Failed++
	c := *f
	for _, said := range []*string{&c.Reason, &c.Helo} { // by a server, at whatever length it likes
		*said = strings.ToValidUTF8((*said)[:min(len(*said), maxReason)], "")
	}
	for i := range t.Details {
		if t.Details[i].Failure == c {
			t.Details[i].Count++
			return
		}
	}
	if len(t.Details) < maxDetails {
		t.Details = append(t.Details, detail{c, 1})
	}
}

// sums returns the sessions of a domain.
func sums(list []*tally) (ok, failed int64) {
	for _, t := range list {
		ok, failed = ok+t.OK, failed+t.Failed
	}
	return ok, failed
}

func (d *day) encode() ([]byte, error) {
	b, err := json.Marshal(d)
	return append(b, '\n'), err
}
