package control

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
)

// Filter says which messages are meant; the zero Filter takes all. From, To and Domain are patterns: a star stands for
// any octets, and case does not matter.
type Filter struct {
	From   string        // the sender; <> is the null sender
	To     string        // a recipient that is not done
	Domain string        // the domain of one
	Reply  string        // part of the last reply to one, or of the reason of a hold
	Status string        // one of Statuses
	Older  time.Duration // since it came in, at least
}

// IsZero says that the filter takes all.
func (f Filter) IsZero() bool { return f == Filter{} }

// Values is the filter as the query of a request.
func (f Filter) Values() url.Values {
	v := url.Values{}
	for _, x := range f.fields() {
		if *x.field != "" {
			v.Set(x.name, *x.field)
		}
	}
	if f.Older > 0 {
		v.Set("older", config.FormatDuration(f.Older))
	}
	return v
}

type field struct {
	name  string
	field *string
}

func (f *Filter) fields() []field {
	return []field{{"from", &f.From}, {"to", &f.To}, {"domain", &f.Domain}, {"reply", &f.Reply}, {"status", &f.Status}}
}

// ParseFilter reads the query of a request. What it does not know it refuses: a filter that is not understood must not
// take more messages.
func ParseFilter(v url.Values) (Filter, error) {
	var f Filter
	for name, values := range v {
		if len(values) != 1 {
			return Filter{}, fmt.Errorf("%s: given more than once", name)
		}
		if name == "older" {
			d, err := config.ParseDuration(values[0])
			if err != nil {
				return Filter{}, fmt.Errorf("older: %w", err)
			}
			f.Older = d
			continue
		}
		i := slices.IndexFunc(f.fields(), func(x field) bool { return x.name == name })
		if i < 0 {
			return Filter{}, fmt.Errorf("%q: no such filter", name)
		}
		*f.fields()[i].field = values[0]
	}
	return f, f.check()
}

func (f *Filter) check() error {
	if f.Status != "" && !slices.Contains(Statuses(), f.Status) {
		return fmt.Errorf("status: %q; allowed: %s", f.Status, strings.Join(Statuses(), ", "))
	}
	for _, x := range f.fields() {
		if len(*x.field) > mta.MaxPathLen {
			return fmt.Errorf("%s: longer than %d octets", x.name, mta.MaxPathLen)
		}
	}
	return nil
}

// accepts says whether a message is meant.
func (f *Filter) accepts(m *Message, now time.Time) bool {
	if f.Older > 0 && now.Sub(m.Arrived) < f.Older || f.Status != "" && m.Status != f.Status {
		return false
	}
	if f.From != "" && !f.sender(m.Sender) {
		return false
	}
	if f.Reply != "" && contains(m.Why, f.Reply) && f.To == "" && f.Domain == "" {
		return true
	}
	return f.To == "" && f.Domain == "" && f.Reply == "" || slices.ContainsFunc(m.Rcpts, f.recipient)
}

func (f *Filter) sender(s string) bool {
	if f.From == "<>" {
		return s == ""
	}
	return s != "" && match(f.From, s)
}

func (f *Filter) recipient(r Rcpt) bool {
	if r.State == rcptDone || f.To != "" && !match(f.To, r.Address) {
		return false
	}
	_, domain := cutDomain(r.Address)
	return (f.Domain == "" || match(f.Domain, domain)) && (f.Reply == "" || contains(r.Reply, f.Reply))
}

func cutDomain(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, ""
	}
	return address[:i], address[i+1:]
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// match holds a text against a pattern. Its time is the product of their lengths at most.
func match(pattern, s string) bool {
	pattern, s = strings.ToLower(pattern), strings.ToLower(s)
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
