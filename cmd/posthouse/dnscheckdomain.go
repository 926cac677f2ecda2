package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dmarc"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// maxExchangers bounds the hosts of a domain that are looked at.
const maxExchangers = 10

// mx holds the hosts that take a domain's mail against this one, by name or by address.
func (k *dnsCheck) mx(ctx context.Context, z *zone, l *findings) {
	fix := rr{name: z.domain, kind: "MX", value: z.find(z.domain, "MX")[0]}.line()
	list, err := k.r.MX(ctx, z.domain)
	if err != nil {
		l.missing("mx", levelFault, z.domain, fix, err)
		return
	}
	var hosts []string
	ours, known := false, true
	for _, m := range list[:min(len(list), maxExchangers)] {
		hosts = append(hosts, m.Host)
		is, err := k.exchanger(ctx, z, m.Host, l)
		ours, known = ours || is, known && err == nil
	}
	if !ours && !known {
		return // this has been told of
	}
	if !ours {
		l.add("mx", levelFault, z.domain, fix, "mail goes to %s, and not to this host", strings.Join(hosts, ", "))
		return
	}
	l.add("mx", levelOK, z.domain, "", "%s", strings.Join(hosts, ", "))
}

// exchanger says whether a host that takes the domain's mail is this one, and tells what keeps mail from it; with an error nobody
// has answered that.
func (k *dnsCheck) exchanger(ctx context.Context, z *zone, host string, l *findings) (ours bool, err error) {
	p, err := k.r.AliasPath(ctx, host)
	if err == nil { // RFC 2181 10.3, RFC 5321 5.1
		fix := rr{name: z.domain, kind: "MX", value: z.find(z.domain, "MX")[0]}.line()
		if host == z.host {
			fix = k.addressLine()
		}
		l.add("mx", levelFault, z.domain, fix, "%s is an alias (CNAME): that may not be, and some servers send no mail there", p.End)
	}
	addrs, err := k.r.Addrs(ctx, host, true)
	switch {
	case host == z.host:
		return true, nil // its addresses have been looked at
	case dns.Permanent(err):
		l.add("mx", levelFault, z.domain, fmt.Sprintf("take \"MX ... %s.\" out of the zone, or give that host an address", host), "%s: mail waits for it", err)
	case err != nil:
		l.missing("mx", levelUnknown, z.domain, "", err)
		return false, err
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(k.addrs, a) }), nil
}

func (k *dnsCheck) dkim(ctx context.Context, z *zone, l *findings) {
	d := k.cfg.Domain(z.domain)
	if len(d.DKIM) == 0 {
		l.add("dkim", levelWarning, z.domain, "posthouse dkim keygen "+d.Name, "nothing is signed")
	}
	for _, selector := range d.DKIM {
		at := selector + "._domainkey." + d.Name
		fix := ""
		if values := z.find(at, "TXT"); len(values) > 0 {
			fix = rr{name: at, kind: "TXT", value: values[0]}.line()
		}
		err := checkKey(ctx, k.r, k.cfg, d.Name, selector)
		switch {
		case err == nil:
			l.add("dkim", levelOK, at, "", "is this host's key")
		case errors.Is(err, errAsk):
			l.missing("dkim", levelUnknown, at, fix, err)
		default:
			l.add("dkim", levelFault, at, fix, "%v", err)
		}
	}
}

// texts asks for a record of which there must be one and no more. It begins with a version; ok says that one does.
func (k *dnsCheck) texts(ctx context.Context, check, name, version, fix, without string, l *findings) (text string, ok bool) {
	all, err := k.r.TXT(ctx, name)
	if err != nil && !dns.Permanent(err) {
		l.missing(check, levelUnknown, name, fix, err)
		return "", false
	}
	near := slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		return !strings.HasPrefix(strings.ToLower(strings.TrimLeft(s, "\"' \t")), strings.ToLower(version))
	})
	exact := slices.DeleteFunc(slices.Clone(near), func(s string) bool { return !strings.HasPrefix(s, version) })
	switch {
	case len(exact) == 1:
		return exact[0], true
	case len(exact) > 1:
		l.add(check, levelFault, name, fix, "%d records, which count as none: leave one", len(exact))
	case len(near) > 0:
		l.add(check, levelFault, name, fix, "%q does not begin with %s, and counts as none", near[0], version)
	default:
		l.add(check, levelWarning, name, fix, "no record: %s", without)
	}
	return "", false
}

func (k *dnsCheck) dmarc(ctx context.Context, z *zone, l *findings) {
	name := "_dmarc." + z.domain
	fix := rr{name: name, kind: "TXT", value: z.find(name, "TXT")[0]}.line()
	var own findings
	text, ok := k.texts(ctx, "dmarc", name, "v=DMARC1", fix, "others do not know what to think of mail that says it is from here", &own)
	if !ok && len(own) > 0 && own[0].Level == levelWarning {
		if f := dmarc.Evaluate(ctx, k.r, z.domain, dmarc.Proven{}); f.Domain != "" && f.Domain != z.domain {
			l.add("dmarc", levelOK, name, "", "the record of %s holds here too: %s", f.Domain, f.Policy)
			return
		}
	}
	*l = append(*l, own...)
	if !ok {
		return
	}
	record, err := dmarc.Lint(text)
	if err != nil {
		l.add("dmarc", levelFault, name, fix, "%q: %v", text, err)
		return
	}
	l.add("dmarc", levelOK, name, "", "%s", text)
	unwanted, err := dmarc.Unwanted(ctx, k.r, z.domain, record)
	if err != nil {
		l.missing("dmarc", levelUnknown, name, "", err)
	}
	for _, a := range unwanted {
		at := rr{name: z.domain + "._report._dmarc." + a[strings.LastIndexByte(a, '@')+1:], kind: "TXT", value: "v=DMARC1"}
		l.add("dmarc", levelWarning, name, at.line(), "nobody sends reports to %s: the domain there does not say that it wants them", a)
	}
}

func (k *dnsCheck) tlsrpt(ctx context.Context, z *zone, l *findings) {
	name := "_smtp._tls." + z.domain
	fix := rr{name: name, kind: "TXT", value: z.find(name, "TXT")[0]}.line()
	text, ok := k.texts(ctx, "tlsrpt", name, "v=TLSRPTv1", fix, "nobody tells when mail cannot be sent here over TLS", l)
	switch {
	case !ok:
	case len(tlsrpt.Targets([]string{text})) == 0:
		l.add("tlsrpt", levelFault, name, fix, "%q names nobody who takes reports: rua=mailto:... or rua=https:...", text)
	default:
		l.add("tlsrpt", levelOK, name, "", "%s", text)
	}
}
