package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// maxSPF bounds the records and names that an evaluation asks for (RFC 7208 4.6.4).
const maxSPF = 10

// errUndecided says that a record has a term whose meaning depends on more than an address.
var errUndecided = errors.New("has a term that is not judged here")

// errPerm says that a record is one that others take for none (RFC 7208 2.6.7).
var errPerm = errors.New("an error in the SPF record")

// spf asks whether each address of this host may send for a domain.
func (k *dnsCheck) spf(ctx context.Context, domain, fix string) {
	addrs := k.addrs
	if len(k.cfg.Outbound.Source) > 0 {
		addrs = k.cfg.Outbound.Source
	}
	for _, a := range addrs {
		e := spfEvaluation{r: k.r, addr: a.Unmap(), left: maxSPF}
		passes, err := e.passes(ctx, domain)
		switch {
		case err == nil && passes:
			k.add("spf", levelOK, domain, "", "it allows %s", a)
		case err == nil:
			k.add("spf", levelFault, domain, fix, "it does not allow %s, from which this host sends", a)
		case errors.Is(err, errUndecided):
			k.add("spf", levelWarning, domain, fix, "%v", err)
		case errors.Is(err, errPerm):
			k.add("spf", levelFault, domain, fix, "%v", err)
		default:
			k.missing("spf", levelFault, domain, fix, err)
		}
	}
}

// spfEvaluation finds out whether an address is one that a record lets send (RFC 7208 5), by the mechanisms that depend on
// addresses alone. The others, and macros, depend on the message: no answer is better than a wrong one.
type spfEvaluation struct {
	r    *dns.Resolver
	addr netip.Addr
	left int
}

// record returns the terms of the one record that a domain has.
func (e *spfEvaluation) record(ctx context.Context, domain string) ([]string, error) {
	if e.left--; e.left < 0 {
		return nil, fmt.Errorf("%w: it needs more than %d questions", errPerm, maxSPF)
	}
	all, err := e.r.TXT(ctx, domain)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range all {
		if s == "v=spf1" || strings.HasPrefix(strings.ToLower(s), "v=spf1 ") {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("SPF record of %s: %w", domain, dns.ErrNoData)
	case 1:
		return strings.Fields(found[0])[1:], nil
	}
	return nil, fmt.Errorf("%w: %s has %d of them, leave one", errPerm, domain, len(found))
}

func (e *spfEvaluation) passes(ctx context.Context, domain string) (bool, error) {
	terms, err := e.record(ctx, domain)
	if err != nil {
		return false, err
	}
	redirect := ""
	for _, term := range terms {
		lower := strings.ToLower(term)
		if target, ok := strings.CutPrefix(lower, "redirect="); ok {
			redirect = target
			continue
		}
		if name, _, ok := strings.Cut(lower, "="); ok && !strings.ContainsAny(name, ":/") {
			continue // a modifier that decides nothing
		}
		matches, err := e.matches(ctx, strings.TrimLeft(lower, "+-~?"), domain)
		if err != nil {
			return false, err
		}
		if matches {
			return !strings.ContainsAny(term[:1], "-~?"), nil
		}
	}
	if redirect != "" && !strings.Contains(redirect, "%") {
		return e.passes(ctx, redirect)
	}
	return false, nil
}

// matches says whether a mechanism, in small letters, is about the address.
func (e *spfEvaluation) matches(ctx context.Context, term, domain string) (bool, error) {
	if strings.Contains(term, "%") {
		return false, fmt.Errorf("the record of %s %w: %s", domain, errUndecided, term)
	}
	name, rest, _ := strings.Cut(term, ":")
	switch name {
	case "ip4", "ip6":
		if p, err := netip.ParsePrefix(rest); err == nil {
			return p.Contains(e.addr), nil
		}
		a, err := netip.ParseAddr(rest)
		if err != nil {
			return false, fmt.Errorf("%w of %s: %s", errPerm, domain, term)
		}
		return a == e.addr, nil
	case "include":
		return e.passes(ctx, rest)
	case "all":
		return true, nil
	}
	name, bits, _ := strings.Cut(term, "/")
	name, host, _ := strings.Cut(name, ":")
	if host == "" {
		host = domain
	}
	switch name {
	case "a":
		return e.among(ctx, host, bits)
	case "mx":
		return e.exchanger(ctx, host, bits)
	}
	return false, fmt.Errorf("the record of %s %w: %s", domain, errUndecided, term)
}

func (e *spfEvaluation) exchanger(ctx context.Context, host, bits string) (bool, error) {
	list, err := e.r.MX(ctx, host)
	if dns.Permanent(err) {
		return false, nil
	}
	for _, m := range list[:min(len(list), maxSPF)] {
		if found, err := e.among(ctx, m.Host, bits); found || err != nil {
			return found, err
		}
	}
	return false, err
}

// among says whether the address is one of a host's, or in the network of one: bits is "24", "/64" or "24//64".
func (e *spfEvaluation) among(ctx context.Context, host, bits string) (bool, error) {
	four, six, _ := strings.Cut(bits, "/")
	six = strings.TrimPrefix(six, "/")
	list, err := e.r.Addrs(ctx, host, true)
	if dns.Permanent(err) {
		return false, nil
	}
	for _, a := range list {
		text, n := four, a.BitLen()
		if a.Is6() {
			text = six
		}
		if text != "" {
			if n, err = strconv.Atoi(text); err != nil {
				return false, fmt.Errorf("%w: %q is no length of a network", errPerm, bits)
			}
		}
		p, perr := a.Prefix(n)
		if perr != nil {
			return false, fmt.Errorf("%w: %w", errPerm, perr)
		}
		if p.Contains(e.addr) {
			return true, nil
		}
	}
	return false, err
}
