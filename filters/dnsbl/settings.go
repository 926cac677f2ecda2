package dnsbl

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Bounds of the settings.
const (
	maxLists  = 64
	maxWeight = 1000
)

// settings are [settings] of dnsbl.toml.
type settings struct {
	Lists   []list   `toml:"lists"`
	Reject  float64  `toml:"reject"` // 0 = never
	Early   bool     `toml:"early"`
	Score   float64  `toml:"score"` // of a weight of 1
	Skip    []string `toml:"skip"`  // networks
	Timeout string   `toml:"timeout"`

	skip    []netip.Prefix
	timeout time.Duration
}

// list is one list of DNS (RFC 5782).
type list struct {
	Zone    string   `toml:"zone"`
	Kind    string   `toml:"kind"`    // address or domain
	Of      []string `toml:"of"`      // for domains: client, helo, sender
	Weight  *float64 `toml:"weight"`  // 1 where it is not given; below 0 = a list of the good
	Answers []string `toml:"answers"` // addresses or networks; none = all that are listings

	answers []netip.Prefix
}

// What a list knows, and which names are asked for.
const (
	kindAddress = "address"
	kindDomain  = "domain"
	ofClient    = "client"
	ofHelo      = "helo"
	ofSender    = "sender"
)

func read(s filters.Settings) (settings, error) {
	set := settings{Reject: 1, Timeout: "5s"}
	if err := s.Decode(&set); err != nil {
		return set, err
	}
	var err error
	if set.timeout, err = time.ParseDuration(set.Timeout); err != nil || set.timeout < 100*time.Millisecond || set.timeout > time.Minute {
		return set, s.Fault("timeout", fmt.Sprintf("timeout = %q; allowed: \"100ms\" to \"1m\"", set.Timeout))
	}
	if set.Reject < 0 || set.Reject > maxWeight {
		return set, s.Fault("reject", fmt.Sprintf("reject = %v; allowed: 0 to %d", set.Reject, maxWeight))
	}
	for _, n := range set.Skip {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return set, s.Fault("skip", fmt.Sprintf("skip: %q is no network; allowed: as in \"192.0.2.0/24\"", n))
		}
		set.skip = append(set.skip, p)
	}
	if len(set.Lists) > maxLists {
		return set, s.Fault("lists", fmt.Sprintf("lists: %d of them; allowed: %d", len(set.Lists), maxLists))
	}
	for i := range set.Lists {
		if err := set.Lists[i].check(); err != nil {
			return set, s.Fault("lists", fmt.Sprintf("lists: the %d. one: %v", i+1, err))
		}
	}
	return set, nil
}

func (l *list) check() error {
	zone, err := dns.ASCII(l.Zone)
	if err != nil {
		return fmt.Errorf("zone = %q is no domain", l.Zone)
	}
	l.Zone = zone
	switch l.Kind {
	case "":
		l.Kind = kindAddress
	case kindAddress, kindDomain:
	default:
		return fmt.Errorf("kind = %q; allowed: address, domain", l.Kind)
	}
	if l.Kind == kindAddress && len(l.Of) > 0 {
		return fmt.Errorf("of is for lists of domains")
	}
	if l.Kind == kindDomain && len(l.Of) == 0 {
		l.Of = []string{ofClient, ofHelo, ofSender}
	}
	for _, of := range l.Of {
		if !slices.Contains([]string{ofClient, ofHelo, ofSender}, of) {
			return fmt.Errorf("of: %q; allowed: client, helo, sender", of)
		}
	}
	if l.Weight == nil {
		one := 1.0
		l.Weight = &one
	}
	if w := *l.Weight; !(w >= -maxWeight && w <= maxWeight) {
		return fmt.Errorf("weight = %v; allowed: -%d to %d", w, maxWeight, maxWeight)
	}
	for _, a := range l.Answers {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(a); err == nil {
				p = netip.PrefixFrom(ip, ip.BitLen())
			}
		}
		if err != nil || !p.Addr().Is4() {
			return fmt.Errorf("answers: %q is neither an address nor a network; allowed: as in \"127.0.0.4\" or \"127.0.0.4/30\"", a)
		}
		l.answers = append(l.answers, p)
	}
	return nil
}

var (
	loopback = netip.MustParsePrefix("127.0.0.0/8")      // where listings are (RFC 5782 2.1)
	refused  = netip.MustParsePrefix("127.255.255.0/24") // where some lists say that they do not answer this name server
)

// says whether an answer is a listing that counts here.
func (l *list) lists(a netip.Addr) bool {
	if !loopback.Contains(a) || refused.Contains(a) {
		return false
	}
	return len(l.answers) == 0 || slices.ContainsFunc(l.answers, func(p netip.Prefix) bool { return p.Contains(a) })
}
