package remote

import (
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// FromConfig returns the Options that a configuration asks for, less Resolver, Watcher and, where MTA-STS is to be
// obeyed, STS. The machine's addresses are read now.
func FromConfig(c *config.Config) (Options, error) {
	own, err := ownSockets(c)
	o := c.Outbound
	return Options{
		Hostname: c.Hostname, Helo: o.Helo, Port: o.Port, IPv6: o.IPv6, TLS: mta.TLSLevel(o.TLS), DANE: o.DANE, Source: o.Source,
		MaxLine: int(o.MaxLine), Own: own, ReuseMax: o.ReuseMax, ReuseIdle: o.ReuseIdle,
	}, err
}

// ResolverFromConfig returns the resolver that a configuration asks for.
func ResolverFromConfig(c *config.Config) (*dns.Resolver, error) {
	o := dns.Options{DNSSEC: dns.Trust(c.Outbound.DNSSEC)}
	for _, s := range c.Outbound.Resolver {
		o.Servers = append(o.Servers, s.String())
	}
	return dns.New(o)
}
