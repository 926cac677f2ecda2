// Package policy is the filter policy: rules of the site's own, in its settings. cmd/filter starts it; posthouse-filters(7) describes
// them.
package policy

import (
	"context"
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
)

// Filter is the filter.
type Filter struct {
	Version string

	set settings
}

type settings struct {
	Rule []rule `toml:"rule"`
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "policy", Version: f.Version, Summary: "applies the site's own rules", Edits: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(_ *filters.Site, s filters.Settings) error {
	f.set = settings{}
	if err := s.Decode(&f.set); err != nil {
		return err
	}
	if len(f.set.Rule) > maxRules {
		return s.Fault("rule", fmt.Sprintf("%d rules; allowed: %d", len(f.set.Rule), maxRules))
	}
	for i := range f.set.Rule {
		r := &f.set.Rule[i]
		if r.Name == "" {
			r.Name = fmt.Sprintf("%d", i+1)
		}
		if err := r.compile(); err != nil {
			return s.Fault("rule", fmt.Sprintf("rule %s: %v", r.Name, err))
		}
	}
	return nil
}

// Recipient implements filters.RecipientChecker.
func (f *Filter) Recipient(_ context.Context, e *filters.Event) (*filters.Verdict, error) {
	for i := range f.set.Rule {
		if r := &f.set.Rule[i]; r.early() && r.envelope(e, e.Recipient) {
			return r.verdict(&filters.Verdict{}), nil
		}
	}
	return nil, nil
}

// Message implements filters.MessageChecker. The first rule with an action that applies decides; what rules before it add is added.
func (f *Filter) Message(_ context.Context, e *filters.Event) (*filters.Verdict, error) {
	m := content{e: e}
	v := &filters.Verdict{}
	for i := range f.set.Rule {
		r := &f.set.Rule[i]
		if r.early() || !r.envelope(e, e.Recipients...) {
			continue
		}
		applies, err := m.matches(r)
		if err != nil {
			return nil, err
		}
		if !applies {
			continue
		}
		if r.verdict(v); r.act != filters.Continue {
			return v, nil
		}
	}
	return v, nil
}

// verdict adds what a rule does.
func (r *rule) verdict(v *filters.Verdict) *filters.Verdict {
	v.Score += r.Score
	for _, h := range r.AddHeader {
		name, value, _ := strings.Cut(h, ":")
		v.AddHeader(name, strings.TrimSpace(value))
	}
	if r.Folder != "" {
		v.Deliver("", r.Folder)
	}
	if r.act != filters.Continue {
		v.Action, v.Text = r.act, r.Text
		if v.Text == "" {
			v.Text = "this site's rule " + r.Name + " does not allow it"
		}
	}
	return v
}

// content is a message as far as rules have asked for it.
type content struct {
	e      *filters.Event
	header []filters.Field
	values map[string][]string // of the fields, by name in lower case; nil = not read yet
	parts  *parts
}

func (m *content) matches(r *rule) (bool, error) {
	if r.larger > 0 && m.e.Message.Size() <= r.larger {
		return false, nil
	}
	if len(r.header) == 0 && len(r.Lacks) == 0 && len(r.attachmentName) == 0 && len(r.attachmentType) == 0 {
		return true, nil
	}
	if err := m.read(); err != nil {
		return false, err
	}
	for name, list := range r.header {
		if len(m.values[name]) == 0 || !matches(list, m.values[name]...) {
			return false, nil
		}
	}
	lacks := len(r.Lacks) == 0
	for _, name := range r.Lacks {
		lacks = lacks || len(m.values[strings.ToLower(name)]) == 0
	}
	if !lacks || len(r.attachmentName) == 0 && len(r.attachmentType) == 0 {
		return lacks, nil
	}
	if m.parts == nil {
		p, err := partsOf(m.e, m.header)
		if err != nil {
			return false, err
		}
		m.parts = &p
	}
	return matches(r.attachmentName, m.parts.names...) && matches(r.attachmentType, m.parts.types...), nil
}

func (m *content) read() error {
	if m.values != nil {
		return nil
	}
	var err error
	if m.header, err = m.e.Message.Header(); err != nil {
		return err
	}
	m.values = map[string][]string{}
	for _, h := range m.header {
		name := strings.ToLower(h.Name)
		m.values[name] = append(m.values[name], h.Value, decoded(h.Value))
	}
	return nil
}
