package main

import (
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// openSRS reads the secrets for rewritten senders; nil where there are none, or they are not to be used.
func openSRS(c *config.Config) (*sign.SRS, error) {
	if !c.SRS.Enabled {
		return nil, nil
	}
	return sign.OpenSRS(layout.SRSFile(c))
}

// rewriting makes senders of other domains senders in the domain of the alias that forwards, whose mail comes here: SPF of the first
// sender's domain does not know this host (RFC 7208 D.2). Our own senders stay as they are.
func rewriting(s *sign.SRS, r *route.Router, hostname string) runner.Rewrite {
	if s == nil {
		return nil
	}
	return func(alias, sender mta.Address) (mta.Address, error) {
		if r.Local(sender.Domain) {
			return sender, nil
		}
		domain := alias.Domain
		if domain == "" { // <postmaster>
			domain = hostname
		}
		if ascii, err := dns.ASCII(domain); err == nil {
			domain = ascii
		}
		return s.Forward(sender, domain)
	}
}
