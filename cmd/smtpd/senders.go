package main

import (
	"context"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/route"
)

// senders knows who may send as whom: a login of the network as what it owns, a user of this machine as its name at the
// origin or at this host, or as anybody where the configuration trusts it.
type senders struct {
	r       *route.Router
	domains []string // of this machine's users
	trusted []string
}

func newSenders(r *route.Router, c *config.Config) senders {
	return senders{r: r, domains: slices.Compact([]string{c.Origin, c.Hostname}), trusted: c.SMTPD.TrustedUsers}
}

func (s senders) MaySend(ctx context.Context, role, login string, as mta.Address) (bool, error) {
	if role != mta.RoleLocal {
		a, err := mta.ParseAddress(login)
		if err != nil {
			return false, nil
		}
		return s.r.Owns(ctx, a, as)
	}
	if slices.Contains(s.trusted, login) {
		return true, nil
	}
	for _, d := range s.domains {
		if may, err := s.r.Owns(ctx, mta.Address{Local: login, Domain: d}, as); may || err != nil {
			return may, err
		}
	}
	return false, nil
}
