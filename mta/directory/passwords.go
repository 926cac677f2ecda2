package directory

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// passwords is what all places of users have in common: how a user is named, and how a password is checked.
type passwords struct {
	opt    Options
	checks chan struct{} // holds one element for each check under way
	cache  *cache
	match  func(verifier, string) bool // verifier.match; tests count its calls
}

func newPasswords(opt Options) passwords {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.MaxChecks <= 0 && opt.Program != nil {
		opt.MaxChecks = maxPrograms
	}
	if opt.MaxChecks <= 0 {
		opt.MaxChecks = runtime.NumCPU()
	}
	return passwords{opt: opt, checks: make(chan struct{}, opt.MaxChecks), cache: newCache(opt.Now),
		match: func(v verifier, password string) bool { return v.match(password) }}
}

// key is what a user is found by.
func (p *passwords) key(a mta.Address) mta.Address {
	a = fold(a)
	if to, ok := p.opt.DomainAlias[a.Domain]; ok {
		a.Domain = to
	}
	return a
}

func (p *passwords) options() *Options { return &p.opt }

func (p *passwords) parseLogin(login string) (mta.Address, error) {
	a, err := mta.ParseAddress(login)
	if err != nil && p.opt.DefaultDomain != "" {
		a, err = mta.ParseAddress(login + "@" + p.opt.DefaultDomain)
	}
	return a, err
}

// loginForms are the addresses that a login may mean: as it came, and as RFC 8265 has logins prepared.
func (p *passwords) loginForms(login string) []mta.Address {
	var all []mta.Address
	prepared := prepareLogin(login)
	if a, err := p.parseLogin(login); err == nil {
		all = append(all, a)
	}
	if prepared != login {
		if a, err := p.parseLogin(prepared); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// loginName is the same for all ways to write a login that is nobody's.
func (p *passwords) loginName(login string) string {
	prepared := prepareLogin(login)
	if a, err := p.parseLogin(prepared); err == nil {
		return p.key(a).String()
	}
	return prepared
}

// possible says whether it is worth looking for the login: its form says nothing of who exists.
func (p *passwords) possible(login, password string) bool {
	if len(password) > MaxPassword || len(login) > mta.MaxPathLen || strings.ContainsRune(password, 0) {
		return false
	}
	_, err := p.parseLogin(login)
	return err == nil
}

// authenticate checks the password of a user; nil is nobody, who has the same work done.
func (p *passwords) authenticate(ctx context.Context, user *User, against []verifier, password string) (identity string, err error) {
	may := user != nil && user.canLogin()
	var key cacheKey
	if may {
		identity = user.Address.String()
		if key = p.cache.key(identity, against, password); p.cache.has(key) {
			return identity, nil
		}
	}
	ok, err := p.check(ctx, against, password)
	if err != nil {
		return "", err
	}
	if !may || !ok {
		return "", mta.ErrCredentials
	}
	p.cache.add(key)
	return identity, nil
}

// check tries the verifiers in turn, one check of the bound for all of them. Empty passwords match nothing. A password is
// taken as it comes first, as other programs made their verifiers of it, and then in the form in which we make ours.
func (p *passwords) check(ctx context.Context, against []verifier, password string) (bool, error) {
	select {
	case p.checks <- struct{}{}:
	default:
		select {
		case p.checks <- struct{}{}:
		case <-ctx.Done():
			return false, fmt.Errorf("wait for a password check: %w", ctx.Err())
		}
	}
	defer func() { <-p.checks }()
	prepared := preparePassword(password)
	for _, v := range against {
		if p.match(v, password) || prepared != password && v.scheme != Scram && p.match(v, prepared) {
			return password != "", nil
		}
	}
	return false, nil
}
