package dmarc

import (
	"context"
	"net/netip"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Resolver is what is asked of DNS. Names are A-labels in lower case.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	Addrs(ctx context.Context, host string, want6 bool) ([]netip.Addr, error)
}

// maxLabels bounds the tree walk: a longer name is cut to one label less after the first question (RFC 9989 4.10).
const maxLabels = 8

// walker walks for one message, and asks for no name twice.
type walker struct {
	r     Resolver
	known map[string]answer
}

type answer struct {
	record Record
	found  bool
	many   bool // more than one, of which none counts
	err    error
}

// at is the record of a domain.
func (w *walker) at(ctx context.Context, domain string) answer {
	if a, ok := w.known[domain]; ok {
		return a
	}
	var a answer
	list, err := w.r.TXT(ctx, "_dmarc."+domain)
	if err != nil && !dns.Permanent(err) {
		a.err = err
	}
	n := 0
	for _, text := range list {
		if r, ok := parseRecord(text); ok {
			a.record = r
			n++
		}
	}
	a.found, a.many = n == 1, n > 1
	w.known[domain] = a
	return a
}

// step is one name of a walk that has a record.
type step struct {
	domain string
	record Record
}

// walk asks for the records from a domain up, until one says that it is at an edge.
func (w *walker) walk(ctx context.Context, domain string) ([]step, error) {
	var found []step
	for name, first := domain, true; name != ""; first = false {
		a := w.at(ctx, name)
		if a.err != nil {
			return nil, a.err
		}
		if a.found {
			found = append(found, step{name, a.record})
			if a.record.PSD != 'u' {
				break
			}
		}
		name = parent(name)
		if first {
			name = last(name, maxLabels-1)
		}
	}
	return found, nil
}

// organization is the Organizational Domain of a domain whose walk has found these records (RFC 9989 4.10.2).
func organization(domain string, found []step) string {
	for _, s := range found {
		switch {
		case s.record.PSD == 'n':
			return s.domain
		case s.record.PSD == 'y' && s.domain != domain:
			return last(domain, labels(s.domain)+1)
		}
	}
	if len(found) > 0 {
		return found[len(found)-1].domain
	}
	return domain
}

// Organization is the Organizational Domain of a domain.
func Organization(ctx context.Context, r Resolver, domain string) (string, error) {
	w := walker{r, map[string]answer{}}
	found, err := w.walk(ctx, domain)
	return organization(domain, found), err
}

func labels(domain string) int { return strings.Count(domain, ".") + 1 }

// parent is the domain without its first label; "" behind the last.
func parent(domain string) string {
	_, rest, _ := strings.Cut(domain, ".")
	return rest
}

// last is the domain's last n labels.
func last(domain string, n int) string {
	for labels(domain) > n {
		domain = parent(domain)
	}
	return domain
}

// within says whether a domain is another one, or below it.
func within(domain, top string) bool {
	return domain == top || strings.HasSuffix(domain, "."+top)
}
