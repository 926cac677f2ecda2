// Package spamassassin is the filter spamassassin: SpamAssassin's daemon, spamd, scores each message. cmd/filter starts it;
// posthouse-filters(7) describes its settings.
package spamassassin

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// Filter is the filter.
type Filter struct {
	Version string

	set settings
}

// settings are [settings] of spamassassin.toml.
type settings struct {
	daemon.Settings
	User    string  `toml:"user"`    // whose preferences, "" = those of spamd
	Headers bool    `toml:"headers"` // whether its fields are put into the message
	OnSpam  string  `toml:"on_spam"`
	Reject  float64 `toml:"reject"` // from this score on, 0 = never
	Score   float64 `toml:"score"`  // what its score is multiplied with
}

// Bounds of the settings.
const (
	maxUser   = 256
	maxReject = 1000
	maxFactor = 1000
)

var onSpam = map[string]filters.Action{"quarantine": filters.Quarantine, "reject": filters.Reject, "none": filters.Continue}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{
		Name: "spamassassin", Version: f.Version, Summary: "has SpamAssassin score messages", Edits: true, Roles: []string{filters.RoleMX},
	}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(_ *filters.Site, s filters.Settings) error {
	set := settings{
		Settings: daemon.Settings{Address: "127.0.0.1:783", Timeout: "25s", MaxSize: "500KB"},
		Headers:  true, OnSpam: "quarantine",
	}
	if err := s.Decode(&set); err != nil {
		return err
	}
	if err := set.Check(s); err != nil {
		return err
	}
	if len(set.User) > maxUser || strings.ContainsFunc(set.User, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.TrimSpace(set.User) != set.User {
		return s.Fault("user", fmt.Sprintf("user = %q; allowed: a user's name", set.User))
	}
	if _, ok := onSpam[set.OnSpam]; !ok {
		return s.Fault("on_spam", fmt.Sprintf("on_spam = %q; allowed: quarantine, reject, none", set.OnSpam))
	}
	if !(set.Reject >= 0 && set.Reject <= maxReject) {
		return s.Fault("reject", fmt.Sprintf("reject = %v; allowed: a score to %d, 0 = never", set.Reject, maxReject))
	}
	if !(set.Score >= 0 && set.Score <= maxFactor) {
		return s.Fault("score", fmt.Sprintf("score = %v; allowed: 0 to %d", set.Score, maxFactor))
	}
	f.set = set
	return nil
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if f.set.TooLarge(e.Message) {
		return nil, nil
	}
	ctx, cancel := f.set.Bounded(ctx)
	defer cancel()
	r, err := f.ask(ctx, e)
	if err != nil {
		return nil, f.set.Fault(ctx, err)
	}
	return f.verdict(e.Message, r)
}

func (f *Filter) verdict(m *filters.Message, r *result) (*filters.Verdict, error) {
	v := &filters.Verdict{Score: r.score * f.set.Score, Notes: []filters.Note{note(r)}}
	switch {
	case f.set.Reject > 0 && r.score >= f.set.Reject:
		v.Action = filters.Reject
	case r.spam:
		v.Action = onSpam[f.set.OnSpam]
	}
	switch v.Action {
	case filters.Reject:
		v.Text = "Spam message rejected"
		return v, nil
	case filters.Quarantine:
		v.Text = fmt.Sprintf("SpamAssassin: %.1f of %.1f", r.score, r.required)
	}
	if !f.set.Headers {
		return v, nil
	}
	return v, edit(v, m, r)
}

// note is for the filters behind this one.
func note(r *result) filters.Note {
	word := "ham"
	if r.spam {
		word = "spam"
	}
	return filters.Note{
		Method: "spamassassin", Result: word, Hidden: true,
		Properties: []filters.Property{{Type: "policy", Name: "score", Value: strconv.FormatFloat(r.score, 'f', 1, 64)}},
	}
}

// Bounds of the fields of one message.
const (
	maxAdded   = 50
	maxRemoved = 400 // by their names
)

// edit puts SpamAssassin's own fields in the place of those of their names that came with the message, and its Subject. What
// else it would change, a wrapped body and its Content-Type, belongs together and stays as it was.
func edit(v *filters.Verdict, m *filters.Message, r *result) error {
	own, err := m.Header()
	if err != nil {
		return &daemon.ReadError{Err: err}
	}
	came := map[string]string{} // names as they stand in the message, and are not removed yet
	for _, field := range own {
		if name := strings.ToLower(field.Name); isOurs(name) && came[name] == "" {
			came[name] = field.Name
		}
	}
	removed := 0
	// Those that it has itself first: no number of others is to save a forged one.
	for _, field := range append(r.header[:len(r.header):len(r.header)], own...) {
		if name := strings.ToLower(field.Name); came[name] != "" && removed < maxRemoved {
			removed++
			v.RemoveHeader(came[name], 0)
			delete(came, name)
		}
	}
	n := 0
	for i := len(r.header) - 1; i >= 0; i-- { // each goes on top of the one before
		if field := r.header[i]; isOurs(field.Name) && daemon.FieldName(field.Name) && n < maxAdded {
			n++
			v.AddHeader(field.Name, daemon.FieldValue(field.Value))
		}
	}
	was, is := filters.Get(own, "Subject"), ""
	for _, field := range r.header {
		if strings.EqualFold(field.Name, "Subject") {
			is = field.Value
			break
		}
	}
	if flat(is) != flat(was) && r.spam && is != "" {
		v.ReplaceHeader("Subject", 1, daemon.FieldValue(is))
	}
	return nil
}

func isOurs(name string) bool { return len(name) > 7 && strings.EqualFold(name[:7], "X-Spam-") }

// flat is a value without regard to how it is folded.
func flat(value string) string { return strings.Join(strings.Fields(value), " ") }
