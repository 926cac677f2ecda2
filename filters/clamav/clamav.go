// Package clamav is the filter clamav: ClamAV's daemon looks through each message. cmd/filter starts it; posthouse-filters(7)
// describes its settings.
package clamav

import (
	"context"
	"fmt"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// Filter is the filter.
type Filter struct {
	Version string

	set settings
}

// settings are [settings] of clamav.toml.
type settings struct {
	daemon.Settings
	OnVirus    string `toml:"on_virus"`
	OnTooLarge string `toml:"on_too_large"`
}

var actions = map[string]filters.Action{
	"none": filters.Continue, "reject": filters.Reject, "quarantine": filters.Quarantine, "discard": filters.Discard,
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "clamav", Version: f.Version, Summary: "has ClamAV look for viruses", Parallel: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(_ *filters.Site, s filters.Settings) error {
	set := settings{
		Settings: daemon.Settings{Address: "unix:/run/clamav/clamd.ctl", Timeout: "25s", MaxSize: "25MB"},
		OnVirus:  "reject", OnTooLarge: "none",
	}
	if err := s.Decode(&set); err != nil {
		return err
	}
	if err := set.Check(s); err != nil {
		return err
	}
	if a, ok := actions[set.OnVirus]; !ok || a == filters.Continue {
		return s.Fault("on_virus", fmt.Sprintf("on_virus = %q; allowed: reject, quarantine, discard", set.OnVirus))
	}
	if a, ok := actions[set.OnTooLarge]; !ok || a == filters.Discard {
		return s.Fault("on_too_large", fmt.Sprintf("on_too_large = %q; allowed: none, reject, quarantine", set.OnTooLarge))
	}
	f.set = set
	return nil
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if f.set.TooLarge(e.Message) {
		return f.tooLarge(), nil
	}
	ctx, cancel := f.set.Bounded(ctx)
	defer cancel()
	found, err := f.scan(ctx, e.Message)
	if err != nil {
		return nil, f.set.Fault(ctx, err)
	}
	switch {
	case found.tooLarge:
		return f.tooLarge(), nil
	case found.virus != "":
		return &filters.Verdict{Action: actions[f.set.OnVirus], Text: "The message holds a virus: " + found.virus}, nil
	}
	return nil, nil
}

func (f *Filter) tooLarge() *filters.Verdict {
	switch a := actions[f.set.OnTooLarge]; a {
	case filters.Reject:
		return &filters.Verdict{Action: a, Code: 552, Enhanced: "5.3.4", Text: "The message is too large to be checked for viruses"}
	case filters.Quarantine:
		return filters.Quarantined("too large to be checked for viruses")
	default:
		return nil
	}
}
