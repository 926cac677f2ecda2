// Package dnsbl is the filter dnsbl: what lists in DNS say of a client's address, and of the names that it uses (RFC 5782). cmd/filter
// starts it; posthouse-filters(7) describes its settings.
package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// method is that of the notes in which the filter remembers what it has found in a session.
const method = "dnsbl"

// Resolver is what the filter asks of DNS.
type Resolver interface {
	Addrs(ctx context.Context, host string, want6 bool) ([]netip.Addr, error)
	TXT(ctx context.Context, name string) ([]string, error)
}

// Filter is the filter. The zero Filter asks the name servers of its site.
type Filter struct {
	Version  string
	Resolver Resolver

	set settings
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "dnsbl", Version: f.Version, Summary: "asks lists in DNS about clients and their names", Roles: []string{filters.RoleMX}, EnvelopeOnly: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	var err error
	if f.set, err = read(s); err != nil {
		return err
	}
	if f.Resolver == nil {
		f.Resolver, err = dns.New(dns.Options{Servers: site.Resolvers, Timeout: f.set.timeout, Attempts: 1})
	}
	return err
}

// Connect implements filters.Connecter.
func (f *Filter) Connect(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	ip := e.Client.Addr().Unmap()
	if f.skips(ip) {
		return nil, nil
	}
	reversed := reverse(ip)
	var asks []ask
	for i := range f.set.Lists {
		if l := &f.set.Lists[i]; l.Kind == kindAddress {
			asks = append(asks, ask{l, reversed, ip.String()})
		}
	}
	return f.answer(ctx, e, append(asks, f.names(ofClient, e.ClientName)...)), nil
}

// Hello implements filters.Helloer.
func (f *Filter) Hello(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if f.skips(e.Client.Addr().Unmap()) {
		return nil, nil
	}
	return f.answer(ctx, e, f.names(ofHelo, e.Helo)), nil
}

// Sender implements filters.SenderChecker.
func (f *Filter) Sender(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if f.skips(e.Client.Addr().Unmap()) {
		return nil, nil
	}
	return f.answer(ctx, e, f.names(ofSender, e.Sender[strings.LastIndexByte(e.Sender, '@')+1:])), nil
}

// Recipient implements filters.RecipientChecker. Here mail is refused: the log has the recipient then, and who is listed can
// still write to those who can help.
func (f *Filter) Recipient(_ context.Context, e *filters.Event) (*filters.Verdict, error) {
	local, _, _ := strings.Cut(strings.ToLower(e.Recipient), "@")
	if local == "postmaster" || local == "abuse" {
		return nil, nil
	}
	return f.refusal(e.Find(method)), nil
}

func (f *Filter) skips(ip netip.Addr) bool {
	return !ip.IsValid() || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() ||
		slices.ContainsFunc(f.set.skip, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// names are the questions about one name. What is no name of DNS, such as an address literal, is not asked for.
func (f *Filter) names(of, name string) []ask {
	name, err := dns.ASCII(name)
	if err != nil || !strings.Contains(name, ".") {
		return nil
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	var asks []ask
	for i := range f.set.Lists {
		if l := &f.set.Lists[i]; l.Kind == kindDomain && slices.Contains(l.Of, of) {
			asks = append(asks, ask{l, name, name})
		}
	}
	return asks
}

// answer asks, and tells what was found as notes for the stages that follow.
func (f *Filter) answer(ctx context.Context, e *filters.Event, asks []ask) *filters.Verdict {
	if len(asks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.set.timeout)
	defer cancel()
	notes := make([]*filters.Note, len(asks))
	var all sync.WaitGroup
	for i, a := range asks {
		all.Go(func() { notes[i] = f.ask(ctx, a) })
	}
	all.Wait()
	v := &filters.Verdict{}
	for _, n := range notes {
		if n != nil {
			v.Notes = append(v.Notes, *n)
			v.Score += f.set.Score * weight(*n)
		}
	}
	if f.set.Early {
		if r := f.refusal(append(e.Find(method), v.Notes...)); r != nil {
			r.Notes = v.Notes
			return r
		}
	}
	return v
}

// refusal refuses where the listings weigh enough.
func (f *Filter) refusal(notes []filters.Note) *filters.Verdict {
	sum, heaviest := 0.0, filters.Note{}
	for _, n := range notes {
		w := weight(n)
		sum += w
		if heaviest.Method == "" || w > weight(heaviest) {
			heaviest = n
		}
	}
	if f.set.Reject == 0 || sum < f.set.Reject || heaviest.Method == "" {
		return nil
	}
	text := fmt.Sprintf("%s is listed by %s", heaviest.Get("policy", "what"), heaviest.Get("dns", "zone"))
	if heaviest.Reason != "" {
		text += ": " + heaviest.Reason
	}
	return &filters.Verdict{Action: filters.Reject, Code: 550, Enhanced: "5.7.1", Text: text}
}

func weight(n filters.Note) float64 {
	w, _ := strconv.ParseFloat(n.Get("policy", "weight"), 64)
	return w
}
