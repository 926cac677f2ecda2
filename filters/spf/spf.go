// Package spf is the filter spf: whether a client may use the domain of its sender (RFC 7208), which mta/spf finds out. cmd/filter
// starts it; posthouse-filters(7) describes its settings.
package spf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/spf"
)

// checkTime bounds a check (RFC 7208 4.6.4 wants 20 s at the least).
const checkTime = 20 * time.Second

// Filter is the filter. The zero Filter asks the name servers of its site.
type Filter struct {
	Version  string
	Resolver spf.Resolver

	set settings
}

type settings struct {
	Reject   []string           `toml:"reject"`   // results
	TempFail []string           `toml:"tempfail"` // results
	Skip     []string           `toml:"skip"`     // networks
	Score    map[string]float64 `toml:"score"`    // by result

	skip []netip.Prefix
}

var results = []string{spf.None, spf.Neutral, spf.Pass, spf.Fail, spf.SoftFail, spf.TempError, spf.PermError}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "spf", Version: f.Version, Summary: "checks whether a client may send for a domain (SPF)", Roles: []string{filters.RoleMX}, Parallel: true, EnvelopeOnly: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	var set settings
	if err := s.Decode(&set); err != nil {
		return err
	}
	for key, list := range map[string][]string{"reject": set.Reject, "tempfail": set.TempFail} {
		for _, r := range list {
			if !slices.Contains(results, r) || r == spf.Pass {
				return s.Fault(key, fmt.Sprintf("%s: %q is not among the results: %s", key, r, strings.Join(results, ", ")))
			}
		}
	}
	for _, n := range set.Skip {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return s.Fault("skip", fmt.Sprintf("skip: %q is no network; allowed: as in \"192.0.2.0/24\"", n))
		}
		set.skip = append(set.skip, p)
	}
	for r := range set.Score {
		if !slices.Contains(results, r) {
			return s.Fault(r, fmt.Sprintf("score: %q is not among the results: %s", r, strings.Join(results, ", ")))
		}
	}
	f.set = set
	if f.Resolver == nil {
		r, err := dns.New(dns.Options{Servers: site.Resolvers})
		if err != nil {
			return err
		}
		f.Resolver = r
	}
	return nil
}

// Sender implements filters.SenderChecker.
func (f *Filter) Sender(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	ip := e.Client.Addr()
	if !ip.IsValid() || slices.ContainsFunc(f.set.skip, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	result, why := spf.Check(ctx, f.Resolver, ip, e.Helo, e.Sender)
	v := &filters.Verdict{Score: f.set.Score[result], Notes: []filters.Note{{Method: "spf", Result: result, Properties: []filters.Property{identity(e)}}}}
	switch {
	case result == spf.TempError: // the error tells of our name servers
		v.Notes[0].Reason = "DNS did not answer"
	case result == spf.PermError && why != nil:
		v.Notes[0].Reason = why.Error()
	}
	switch {
	case slices.Contains(f.set.Reject, result):
		v.Action, v.Code, v.Enhanced = filters.Reject, 550, "5.7.23" // RFC 7372 3.2
		v.Text = fmt.Sprintf("SPF says %s for %s from %s", result, identity(e).Value, ip)
		if result == spf.PermError {
			v.Enhanced = "5.7.24"
		}
	case slices.Contains(f.set.TempFail, result):
		v.Action, v.Code, v.Enhanced = filters.TempFail, 451, "4.7.24"
		v.Text = fmt.Sprintf("SPF says %s for %s from %s, try again later", result, identity(e).Value, ip)
	}
	return v, nil
}

// identity is what was checked: the sender's address, or for the null sender the client's name (RFC 7208 2.4).
func identity(e *filters.Event) filters.Property {
	if e.Sender == "" {
		return filters.Property{Type: "smtp", Name: "helo", Value: e.Helo}
	}
	return filters.Property{Type: "smtp", Name: "mailfrom", Value: e.Sender}
}
