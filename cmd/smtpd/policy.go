package main

import (
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// policy is what strangers are held to.
func (b *builder) policy(c *config.Config) (smtpd.Policy, error) {
	var servers []string
	for _, s := range c.Outbound.Resolver {
		servers = append(servers, s.String())
	}
	resolver, err := dns.New(dns.Options{Servers: servers})
	if err != nil {
		return smtpd.Policy{}, err
	}
	p := c.SMTPD
	return smtpd.Policy{
		Resolver: resolver, RequireHelo: p.RequireHeloName, SenderDomain: p.RequireSenderDomain, OwnDomains: p.RejectOwnDomains,
		RefuseEarly: true, GreetDelay: p.GreetDelay, UnknownDelays: b.unknown,
	}, nil
}
