package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// How a lookup can fail. An error that is none of the first four is temporary: a server that did not answer, answered
// SERVFAIL, or answered nonsense; asking again later may help.
var (
	ErrNotFound = errors.New("no such name")              // NXDOMAIN
	ErrNoData   = errors.New("no record of this type")    // the name exists
	ErrNullMX   = errors.New("domain takes no mail")      // RFC 7505
	ErrBadName  = errors.New("not a domain name")         // nothing was asked
	errServers  = errors.New("no name server configured") // nothing could be asked
)

// Permanent says whether asking again will bring the same answer.
func Permanent(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoData) || errors.Is(err, ErrNullMX) || errors.Is(err, ErrBadName)
}

// MX is one mail exchanger (RFC 5321 5.1). The lowest Pref is tried first; Host is in lower case, as A-labels, without
// the final dot.
type MX struct {
	Pref uint16
	Host string
}

// Options of a Resolver; the zero value asks the servers of /etc/resolv.conf.
type Options struct {
	Servers  []string         // "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53"; empty: those of ResolvConf
	Conf     string           // default /etc/resolv.conf; read once, by New
	Timeout  time.Duration    // of one question to one server, UDP and TCP each; default 3 s
	Attempts int              // rounds over all servers; default 2
	Entries  int              // answers that the cache holds; default 10000, below 0 none
	MaxTTL   time.Duration    // an answer is kept no longer; default 1 h
	MaxNeg   time.Duration    // that nothing is there is remembered no longer; default 5 min
	DNSSEC   Trust            // whose AD bit counts; default TrustAuto
	Now      func() time.Time // default time.Now
}

// Resolver asks questions. It is safe for use by many goroutines.
type Resolver struct {
	opt     Options
	servers []string
	trusted bool // an AD bit is believed
	cache   cache
}

// New returns a Resolver. It fails when no server is given and the configuration file cannot be read or names none,
// and when a server is not an IP address with an optional port.
func New(o Options) (*Resolver, error) {
	if o.Conf == "" {
		o.Conf = "/etc/resolv.conf"
	}
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Attempts <= 0 {
		o.Attempts = 2
	}
	if o.Entries == 0 {
		o.Entries = 10000
	}
	if o.MaxTTL <= 0 {
		o.MaxTTL = time.Hour
	}
	if o.MaxNeg <= 0 {
		o.MaxNeg = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	list := o.Servers
	if len(list) == 0 {
		var err error
		if list, err = confServers(o.Conf); err != nil {
			return nil, err
		}
	}
	r := &Resolver{opt: o, cache: cache{max: o.Entries, entries: map[question]entry{}}}
	for _, s := range list {
		a, err := serverAddr(s)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, a)
	}
	if len(r.servers) == 0 {
		return nil, errServers
	}
	r.trusted = trusts(o.DNSSEC, r.servers)
	return r, nil
}

func serverAddr(s string) (string, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.String(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53).String(), nil
	}
	return "", fmt.Errorf("name server %q: want an IP address, with or without a port", s)
}

// MX returns a domain's mail exchangers, lowest preference first. ErrNoData tells the caller to use the domain's own
// addresses (RFC 5321 5.1), ErrNullMX that it takes no mail.
func (r *Resolver) MX(ctx context.Context, domain string) ([]MX, error) {
	recs, err := r.lookup(ctx, domain, typeMX)
	if err != nil {
		return nil, err
	}
	var list []MX
	null, odd := false, false
	for _, rec := range recs {
		if rec.text == "." {
			null = true
			continue
		}
		host, err := ascii(rec.text)
		if err != nil {
			odd = true
			continue
		}
		list = append(list, MX{rec.pref, host})
	}
	switch {
	case len(list) > 0:
	case odd:
		return nil, fmt.Errorf("look up MX of %s: no exchanger with a usable name", domain)
	case null:
		return nil, fmt.Errorf("look up MX of %s: %w", domain, ErrNullMX)
	default:
		return nil, fmt.Errorf("look up MX of %s: %w", domain, ErrNoData)
	}
	slices.SortStableFunc(list, func(a, b MX) int { return int(a.Pref) - int(b.Pref) })
	return list, nil
}

// Addrs returns the addresses of a host: A, and AAAA too when want6, in the order that the server gave, IPv6 first.
// A host with one kind is found even when the question for the other failed.
func (r *Resolver) Addrs(ctx context.Context, host string, want6 bool) ([]netip.Addr, error) {
	type result struct {
		addrs []netip.Addr
		err   error
	}
	six := make(chan result, 1)
	if want6 {
		go func() {
			a, err := r.addrs(ctx, host, typeAAAA)
			six <- result{a, err}
		}()
	} else {
		six <- result{err: ErrNoData}
	}
	list, err := r.addrs(ctx, host, typeA)
	got := <-six
	list = append(got.addrs, list...)
	switch {
	case len(list) > 0:
		return list, nil
	case !Permanent(err):
		return nil, err
	case !Permanent(got.err):
		return nil, got.err
	}
	return nil, err
}

func (r *Resolver) addrs(ctx context.Context, host string, t rrtype) ([]netip.Addr, error) {
	recs, err := r.lookup(ctx, host, t)
	var list []netip.Addr
	for _, rec := range recs {
		list = append(list, rec.addr)
	}
	return list, err
}

// TXT returns the texts of a name, the strings of each record joined (RFC 7208 3.3).
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	return r.texts(ctx, name, typeTXT)
}

// Name returns the names that the reverse zone gives an address, without the final dot. Whoever controls the address
// chooses them: they prove nothing until their own addresses have been compared.
func (r *Resolver) Name(ctx context.Context, a netip.Addr) ([]string, error) {
	name, err := reverseName(a)
	if err != nil {
		return nil, err
	}
	raw, err := r.texts(ctx, name, typePTR)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range raw {
		if n, err := ascii(n); err == nil {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("look up name of %s: %w", a, ErrNoData)
	}
	return names, nil
}

func (r *Resolver) texts(ctx context.Context, name string, t rrtype) ([]string, error) {
	recs, err := r.lookup(ctx, name, t)
	var list []string
	for _, rec := range recs {
		list = append(list, rec.text)
	}
	return list, err
}
