// Package milter is the filter milter: any program that speaks the milter protocol of Sendmail and Postfix (libmilter, versions
// 2 to 6) judges messages and changes them. cmd/filter starts it; posthouse-filters(7) describes its settings.
//
// A filter remembers nothing between calls, so each message is one conversation, at the stage Message, in which all that has
// happened is told anew. So that a milter can refuse one recipient of several, each is also asked about at RCPT, in a
// conversation of its own.
package milter

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

const (
	// moreBody is how much larger than twice the message a new body may be, octets.
	moreBody = 16 << 20
	// maxFields is how many fields of a header a milter is told. It may answer to each, and would have no time left for what
	// has more: where mail passes then, nobody is to get round it that way.
	maxFields = 10_000
)

// Filter is the filter.
type Filter struct {
	Version string
	Name    string // "" = milter; there can be several, under names of their own

	set  settings
	site filters.Site
	late atomic.Bool // the milter has said that it decides nothing before DATA
}

type settings struct {
	daemon.Settings
	Early      bool   `toml:"early"`
	OnTooLarge string `toml:"on_too_large"`
}

var tooLarge = map[string]filters.Action{"none": filters.Continue, "reject": filters.Reject, "quarantine": filters.Quarantine}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	name := f.Name
	if name == "" {
		name = "milter"
	}
	return filters.Info{Name: name, Version: f.Version, Summary: "asks a milter about each message", Edits: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	set := settings{Settings: daemon.Settings{Address: "127.0.0.1:8891", Timeout: "25s", MaxSize: "4GB"}, Early: true, OnTooLarge: "none"}
	if err := s.Decode(&set); err != nil {
		return err
	}
	if err := set.Check(s); err != nil {
		return err
	}
	if _, ok := tooLarge[set.OnTooLarge]; !ok {
		return s.Fault("on_too_large", fmt.Sprintf("on_too_large = %q; allowed: none, reject, quarantine", set.OnTooLarge))
	}
	f.set, f.site = set, *site
	return nil
}

// Recipient implements filters.RecipientChecker: it asks what the milter says up to this RCPT.
func (f *Filter) Recipient(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if !f.set.Early || f.late.Load() {
		return nil, nil
	}
	ctx, cancel := f.set.Bounded(ctx)
	defer cancel()
	d, err := f.recipient(ctx, e)
	switch {
	case err != nil:
		return nil, f.set.Fault(ctx, err)
	case d == nil || d.verdict == nil || d.verdict.Action == filters.Discard: // which is said again at Message
		return nil, nil
	}
	return d.verdict, nil
}

func (f *Filter) recipient(ctx context.Context, e *filters.Event) (*decided, error) {
	s, err := f.begin(ctx, e, 0)
	if err != nil {
		return nil, err
	}
	defer s.end()
	if f.late.Load() {
		return nil, nil
	}
	return s.envelope(f, e, []string{e.Recipient})
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if f.set.TooLarge(e.Message) {
		return f.tooLarge(), nil
	}
	ctx, cancel := f.set.Bounded(ctx)
	defer cancel()
	v, err := f.message(ctx, e)
	if err != nil {
		return nil, f.set.Fault(ctx, err)
	}
	return v, nil
}

func (f *Filter) message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	fields, hidden, err := seen(e.Message)
	if err != nil {
		return nil, err
	}
	if len(fields) > maxFields {
		return &filters.Verdict{Action: filters.Reject, Code: 554, Enhanced: "5.6.0", Text: "The header has too many fields to be checked"}, nil
	}
	s, err := f.begin(ctx, e, 2*e.Message.Size()+moreBody)
	if err != nil {
		return nil, err
	}
	defer s.end()
	d, err := s.envelope(f, e, e.Recipients)
	if err == nil && d == nil {
		d, err = s.content(e.Message, fields)
	}
	switch {
	case err != nil:
		return nil, err
	case d != nil:
		return d.verdict, nil
	}
	return s.finish(e, hidden)
}

// begin connects and negotiates.
func (f *Filter) begin(ctx context.Context, e *filters.Event, body int64) (*session, error) {
	c, err := f.set.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{wire: newWire(c, body), macros: f.macrosOf(e), wanted: usual()}
	if err := s.negotiate(); err != nil {
		_ = c.Close()
		return nil, err
	}
	f.late.Store(!s.decides(connect) && !s.decides(helo) && !s.decides(mailFrom) && !s.decides(rcptTo))
	return s, nil
}

func (f *Filter) tooLarge() *filters.Verdict {
	switch tooLarge[f.set.OnTooLarge] {
	case filters.Reject:
		return &filters.Verdict{Action: filters.Reject, Code: 552, Enhanced: "5.3.4", Text: "The message is too large to be checked"}
	case filters.Quarantine:
		return filters.Quarantined("too large to be checked")
	}
	return nil
}
