package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/config"
)

// Checker checks a password of a user of the machine: nil, mta.ErrCredentials, or a fault. asuser.Client has one.
type Checker func(ctx context.Context, name, password string) error

// Machine is Users, and beside them the accounts of the machine as the users of some domains.
type Machine struct {
	Users
	Domains map[string]bool  // whose users the accounts are; A-labels, lower case
	MinUID  int              // accounts below it are nobody
	From    *accounts.Source // where accounts are looked up; nil: /etc/passwd
	Check   Checker          // nil: they cannot log in
}

// NewMachine returns the Machine of a configuration, whose accounts cannot log in. before is From of the configuration before; nil:
// there was none.
func NewMachine(c *config.Config, users Users, before *accounts.Source) Machine {
	return Machine{Users: users, Domains: c.SystemDomains(), MinUID: c.Mailboxes.SystemMinUID, From: before.With(c.Mailboxes.SystemAccounts == "nss")}
}

// Lookup returns the user with an address; ErrUnknown if there is none.
func (m Machine) Lookup(ctx context.Context, a mta.Address) (User, error) {
	if key := m.key(a); m.Domains[key.Domain] {
		return m.account(ctx, mta.Address{Local: a.Local, Domain: key.Domain})
	}
	return m.Users.Lookup(ctx, a)
}

// account finds the account that a local part names, as it is written or in lower case (passwd(5)). The name service is asked
// for neither before the files have been looked at for both: who is in them does not wait for it, however the name is written.
func (m Machine) account(ctx context.Context, a mta.Address) (User, error) {
	names := slices.Compact([]string{a.Local, mta.LowerASCII(a.Local)})
	for _, from := range []*accounts.Source{nil, m.From} {
		for _, name := range names {
			u, err := from.Lookup(ctx, name)
			switch {
			case errors.Is(err, accounts.ErrUnknown):
				continue
			case err != nil:
				return User{}, fmt.Errorf("look up user %s: %w", name, err)
			case !u.IsPerson(m.MinUID):
				return User{}, ErrUnknown
			}
			return User{Address: mta.Address{Local: u.Name, Domain: a.Domain}, System: u.Name}, nil
		}
	}
	return User{}, ErrUnknown
}

// Find returns the account that a login means, and its address; ok says that the login is of a domain whose users are the
// accounts, though there need be none of that name, or none that can be found just now.
func (m Machine) Find(ctx context.Context, login string) (name string, identity mta.Address, ok bool) {
	a, ok := m.login(login)
	if !ok {
		return "", a, false
	}
	if u, err := m.account(ctx, a); err == nil {
		return u.System, u.Address, true
	}
	return mta.LowerASCII(a.Local), a, true
}

// Serves says whether a login is of a domain whose users are the accounts.
func (m Machine) Serves(login string) bool {
	_, ok := m.login(login)
	return ok
}

// login says whether a login is of a domain whose users are the accounts. One without a domain is of the only such domain.
func (m Machine) login(login string) (mta.Address, bool) {
	if len(m.Domains) == 1 && m.options().DefaultDomain == "" && !strings.Contains(login, "@") {
		for name := range m.Domains {
			login += "@" + name
		}
	}
	a, err := m.parseLogin(login)
	if err != nil {
		return a, false
	}
	a.Domain = m.key(a).Domain
	return a, m.Domains[a.Domain]
}

// OffersScram is Users.OffersScram. The accounts have no verifiers for SCRAM: where not all can use it, it is not offered.
func (m Machine) OffersScram() (scram, plus bool) {
	if len(m.Domains) > 0 && m.options().Scram != ScramAlways {
		return false, false
	}
	return m.Users.OffersScram()
}

// Scram is Users.Scram; accounts have to use another mechanism.
func (m Machine) Scram(ctx context.Context, login string) (identity string, v mta.ScramVerifier, err error) {
	if _, ok := m.login(login); ok {
		return "", v, mta.ErrTransition
	}
	return m.Users.Scram(ctx, login)
}

// Authenticate is Users.Authenticate, and asks Check for the passwords of accounts.
func (m Machine) Authenticate(ctx context.Context, login, password string) (identity string, err error) {
	name, a, ok := m.Find(ctx, login)
	if !ok {
		return m.Users.Authenticate(ctx, login, password)
	}
	if m.Check == nil || len(password) > MaxPassword {
		return "", mta.ErrCredentials
	}
	if err := m.Check(ctx, name, password); err != nil { // also of who is unknown: it takes the same time
		return "", err
	}
	return a.String(), nil
}
