package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Bounds of RFC 7208 4.6.4.
const (
	maxTerms = 10 // that ask DNS
	maxVoid  = 2  // questions without an answer
	maxMX    = 10
	maxPTR   = 10
)

// Resolver is what is asked of DNS.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	MX(ctx context.Context, domain string) ([]dns.MX, error)
	Addrs(ctx context.Context, host string, want6 bool) ([]netip.Addr, error)
	Name(ctx context.Context, a netip.Addr) ([]string, error)
}

// Results, in the words of RFC 7208 2.6.
const (
	None      = "none"
	Neutral   = "neutral"
	Pass      = "pass"
	Fail      = "fail"
	SoftFail  = "softfail"
	TempError = "temperror"
	PermError = "permerror"
)

// Check is check_host() for a client: sender is the envelope sender without angle brackets, or empty, when it is the name of HELO that
// counts. The error goes with TempError and PermError alone, and says why.
func Check(ctx context.Context, r Resolver, ip netip.Addr, helo, sender string) (result string, err error) {
	if sender == "" {
		sender = "postmaster@" + helo // RFC 7208 2.4
	}
	local, domain, _ := cutLast(sender)
	if local == "" {
		sender = "postmaster@" + domain // RFC 7208 4.3
	}
	c := check{r: r, ip: ip.Unmap(), helo: helo, sender: sender}
	return c.host(ctx, domain)
}

// check is one check_host() with all that it calls.
type check struct {
	r            Resolver
	ip           netip.Addr
	helo, sender string

	terms, void int
	names       []string // of the client that lead back to it
	nameErr     error
	asked       bool // for them
}

// errDNS is an answer that may come later.
var errDNS = errors.New("DNS did not answer")

// host is check_host() of RFC 7208 4.
func (c *check) host(ctx context.Context, domain string) (string, error) {
	name, err := dns.ASCII(domain)
	if err != nil || !strings.Contains(name, ".") {
		return None, nil
	}
	texts, err := c.r.TXT(ctx, name)
	if err != nil && !dns.Permanent(err) {
		return TempError, err
	}
	texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return !isRecord(t) })
	switch {
	case len(texts) == 0:
		return None, nil
	case len(texts) > 1:
		return PermError, fmt.Errorf("%s has %d records", name, len(texts))
	}
	r, err := parse(texts[0])
	if err != nil {
		return PermError, fmt.Errorf("%s: %w", name, err)
	}
	return c.evaluate(ctx, r, domain)
}

func (c *check) evaluate(ctx context.Context, r record, domain string) (string, error) {
	for _, m := range r.mechanisms {
		matches, err := c.matches(ctx, m, domain)
		switch {
		case errors.Is(err, errDNS):
			return TempError, err
		case err != nil:
			return PermError, err
		case matches:
			return m.result, nil
		}
	}
	if r.redirect == "" {
		return Neutral, nil
	}
	if err := c.count(); err != nil {
		return PermError, err
	}
	target := c.expand(ctx, r.redirect, domain)
	result, err := c.host(ctx, target)
	if result == None {
		return PermError, fmt.Errorf("%.80s, which %s redirects to, has no record", target, domain)
	}
	return result, err
}

// count bounds the terms that ask DNS.
func (c *check) count() error {
	if c.terms++; c.terms > maxTerms {
		return fmt.Errorf("more than %d terms that ask DNS", maxTerms)
	}
	return nil
}

// answered sorts the errors of a lookup: what is not there is no error until there is too much of it.
func (c *check) answered(err error) error {
	switch {
	case err == nil:
		return nil
	case !dns.Permanent(err):
		return fmt.Errorf("%w: %w", errDNS, err)
	}
	if c.void++; c.void > maxVoid {
		return fmt.Errorf("more than %d questions without an answer", maxVoid)
	}
	return nil
}

func (c *check) matches(ctx context.Context, m mechanism, domain string) (bool, error) {
	switch m.name {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return m.prefix.Contains(c.ip), nil
	}
	if err := c.count(); err != nil {
		return false, err
	}
	target := domain
	if m.domain != "" {
		target = c.expand(ctx, m.domain, domain)
	}
	switch m.name {
	case "include":
		return c.include(ctx, target)
	case "exists":
		addrs, err := c.r.Addrs(ctx, target, false)
		return len(addrs) > 0, c.answered(err)
	case "a":
		addrs, err := c.r.Addrs(ctx, target, c.ip.Is6())
		return c.among(addrs, m), c.answered(err)
	case "mx":
		return c.mx(ctx, m, target)
	}
	names, err := c.clientNames(ctx)
	if err != nil && dns.Permanent(err) {
		return false, c.answered(err)
	}
	return slices.ContainsFunc(names, func(n string) bool { return below(n, target) }), nil
}

func (c *check) include(ctx context.Context, target string) (bool, error) {
	switch result, err := c.host(ctx, target); result {
	case Pass:
		return true, nil
	case TempError:
		return false, fmt.Errorf("%w: %w", errDNS, err)
	case PermError:
		return false, err
	case None:
		return false, fmt.Errorf("%.80s, which is included, has no record", target)
	}
	return false, nil
}

func (c *check) mx(ctx context.Context, m mechanism, target string) (bool, error) {
	list, err := c.r.MX(ctx, target)
	if err := c.answered(err); err != nil {
		return false, err
	}
	if len(list) > maxMX {
		return false, fmt.Errorf("%.80s has more than %d MX", target, maxMX)
	}
	for _, x := range list {
		addrs, err := c.r.Addrs(ctx, x.Host, c.ip.Is6())
		if err != nil && !dns.Permanent(err) {
			return false, fmt.Errorf("%w: %w", errDNS, err)
		}
		if c.among(addrs, m) {
			return true, nil
		}
	}
	return false, nil
}

func (c *check) among(addrs []netip.Addr, m mechanism) bool {
	bits := m.bits4
	if c.ip.Is6() {
		bits = m.bits6
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return a.BitLen() == c.ip.BitLen() && netip.PrefixFrom(a, bits).Contains(c.ip)
	})
}

// clientNames are the client's names whose addresses hold the client's (RFC 7208 5.5). What cannot be looked up is passed over.
func (c *check) clientNames(ctx context.Context) ([]string, error) {
	if c.asked {
		return c.names, c.nameErr
	}
	c.asked = true
	names, err := c.r.Name(ctx, c.ip)
	if c.nameErr = err; err != nil {
		return nil, err
	}
	for _, n := range names[:min(len(names), maxPTR)] {
		addrs, err := c.r.Addrs(ctx, n, c.ip.Is6())
		if err == nil && slices.Contains(addrs, c.ip) {
			c.names = append(c.names, strings.TrimSuffix(n, "."))
		}
	}
	return c.names, nil
}

// validated is the macro p: the domain itself where the client has that name, else a name below it, else any.
func (c *check) validated(ctx context.Context, domain string) string {
	names, _ := c.clientNames(ctx) // without any it is unknown
	for _, fits := range []func(string) bool{
		func(n string) bool { return strings.EqualFold(n, domain) }, func(n string) bool { return below(n, domain) }, func(string) bool { return true },
	} {
		if i := slices.IndexFunc(names, fits); i >= 0 {
			return names[i]
		}
	}
	return "unknown"
}

// below says whether a name is a domain, or below it.
func below(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(strings.TrimSuffix(domain, "."))
	return name == domain || strings.HasSuffix(name, "."+domain)
}
