package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/spf"
)

// senders are the addresses that others see mail of this host come from.
func (k *dnsCheck) senders() []netip.Addr {
	if len(k.cfg.Outbound.Source) > 0 {
		return k.cfg.Outbound.Source
	}
	list := slices.Clone(k.addrs)
	for _, a := range k.leaves {
		if reachableByAll(a) && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// spf asks for each address whether it may send for a domain, as a receiver does.
func (k *dnsCheck) spf(ctx context.Context, z *zone, l *findings) {
	fix := rr{name: z.domain, kind: "TXT", value: z.find(z.domain, "TXT")[0]}.line()
	good := true
	for _, a := range k.senders() {
		result, err := spf.Check(ctx, k.r, a, k.cfg.Hostname, "postmaster@"+z.domain)
		good = good && result == spf.Pass
		switch result {
		case spf.Pass:
			l.add("spf", levelOK, z.domain, "", "it allows %s", a)
		case spf.TempError:
			l.missing("spf", levelUnknown, z.domain, fix, err)
		case spf.None:
			l.add("spf", levelFault, z.domain, fix, "no record: nothing says that %s may send for it", a)
		case spf.PermError:
			l.add("spf", levelFault, z.domain, k.amendSPF(ctx, z, fix), "others take the record for an error: %v", err)
		default:
			l.add("spf", levelFault, z.domain, k.amendSPF(ctx, z, fix), "it does not allow %s, from which this host sends: %s", a, result)
		}
	}
	if !good {
		return
	}
	u := spf.Cost(ctx, k.r, z.domain)
	if len(k.senders()) == 0 { // no result has told of it
		if slices.Contains(u.Lost, z.domain) {
			l.add("spf", levelFault, z.domain, fix, "no record that can be read: nothing says who may send for it")
			return
		}
		l.add("spf", levelWarning, z.domain, "", "from which addresses this host sends is not known, so nor is whether it allows them")
	}
	if u.Terms > spf.MaxTerms {
		l.add("spf", levelWarning, z.domain, "take out what is no longer needed, or write addresses (ip4:, ip6:) instead of names",
			"it needs more than %d questions: all others that it names get an error instead of an answer", spf.MaxTerms)
	}
	for _, name := range u.Lost {
		l.add("spf", levelWarning, z.domain, "take "+name+" out of the record", "%s, which it names, has no record that can be read: an error for whomever it is asked about", name)
	}
}

// amendSPF is the record of the domain with this host's addresses in front, where there is one; these cost no question.
func (k *dnsCheck) amendSPF(ctx context.Context, z *zone, without string) string {
	all, _ := k.r.TXT(ctx, z.domain) // as it was a moment ago
	var records []string
	for _, s := range all {
		if s == "v=spf1" || strings.HasPrefix(strings.ToLower(s), "v=spf1 ") {
			records = append(records, strings.TrimSpace(s[len("v=spf1"):]))
		}
	}
	if len(records) != 1 {
		return without
	}
	terms := "v=spf1"
	for _, a := range k.senders() {
		terms += fmt.Sprintf(" %s:%s", map[bool]string{true: "ip4", false: "ip6"}[a.Is4()], a)
	}
	return rr{name: z.domain, kind: "TXT", value: terms + " " + records[0]}.line()
}

// helo asks whether this host may use its own name, which is what counts for reports of failure (RFC 7208 2.3).
func (k *dnsCheck) helo(ctx context.Context, l *findings) {
	host := k.cfg.Hostname
	if slices.Contains(k.cfg.LocalDomains(), host) && !k.cfg.Domain(host).Implicit {
		return // it is looked at as a domain
	}
	fix := rr{name: host, kind: "TXT", value: "v=spf1 a -all"}.line()
	for _, a := range k.senders() {
		switch result, err := spf.Check(ctx, k.r, a, host, ""); result {
		case spf.Pass:
			l.add("spf", levelOK, host, "", "it allows %s", a)
		case spf.TempError:
			l.missing("spf", levelUnknown, host, fix, err)
		case spf.None, spf.Neutral:
			l.add("spf", levelWarning, host, fix, "nothing says that %s may send by this name, which reports of failure do", a)
		case spf.PermError:
			l.add("spf", levelFault, host, fix, "others take the record for an error: %v", err)
		default:
			l.add("spf", levelFault, host, fix, "it does not allow %s, from which this host sends reports of failure: %s", a, result)
		}
	}
}

var _ spf.Resolver = (*dns.Resolver)(nil)
