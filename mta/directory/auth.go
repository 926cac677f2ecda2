package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

var errDropped = errors.New("users file is open without its verifiers")

// Authenticate checks a password and returns the user's address, as the users file has it. A login that is unknown, disabled
// or shown a wrong password is mta.ErrCredentials, after the same work; the context's end while waiting for a turn is the
// context's error. A login is an address, or a local part that DefaultDomain completes.
//
// A success is remembered for a few minutes under a key that only this process has, for as long as the user's verifiers stay
// the same: a mail program that asks each minute costs one check.
func (f *File) Authenticate(ctx context.Context, login, password string) (identity string, err error) {
	if f.opt.DropVerifiers {
		return "", errDropped
	}
	if f.opt.Program != nil {
		return f.ask(ctx, login, password)
	}
	if len(password) > MaxPassword || len(login) > mta.MaxPathLen || strings.ContainsRune(password, 0) {
		return "", mta.ErrCredentials
	}
	if _, err := f.parseLogin(login); err != nil {
		return "", mta.ErrCredentials // the form of a login says nothing of who exists
	}
	f.refresh()
	t := f.table.Load()
	user, _ := f.findLogin(t, login)
	may := user != nil && user.canLogin()
	against := t.dummy
	if user != nil && len(user.verifiers) > 0 {
		against = user.verifiers
	}
	var key cacheKey
	if may {
		identity = user.Address.String()
		if key = f.cache.key(identity, against, password); f.cache.has(key) {
			return identity, nil
		}
	}
	ok, err := f.check(ctx, against, password)
	if err != nil {
		return "", err
	}
	if !may || !ok {
		return "", mta.ErrCredentials
	}
	f.cache.add(key)
	return identity, nil
}

func (f *File) parseLogin(login string) (mta.Address, error) {
	a, err := mta.ParseAddress(login)
	if err != nil && f.opt.DefaultDomain != "" {
		a, err = mta.ParseAddress(login + "@" + f.opt.DefaultDomain)
	}
	return a, err
}

// findLogin returns the user of a login, nil if there is none, and the name under which it was looked for, which is the same
// for all ways to write the login.
func (f *File) findLogin(t *table, login string) (*User, string) {
	prepared := prepareLogin(login)
	forms := []string{login, prepared}
	if prepared == login {
		forms = forms[:1]
	}
	for _, form := range forms {
		if a, err := f.parseLogin(form); err == nil {
			if u := f.find(t, a); u != nil {
				return u, f.key(u.Address).String()
			}
		}
	}
	if a, err := f.parseLogin(prepared); err == nil {
		return nil, f.key(a).String()
	}
	return nil, prepared
}

// check tries the verifiers in turn, one check of the bound for all of them. Empty passwords match nothing. A password is
// taken as it comes first, as other programs made their verifiers of it, and then in the form in which we make ours.
func (f *File) check(ctx context.Context, against []verifier, password string) (bool, error) {
	select {
	case f.checks <- struct{}{}:
	default:
		select {
		case f.checks <- struct{}{}:
		case <-ctx.Done():
			return false, fmt.Errorf("wait for a password check: %w", ctx.Err())
		}
	}
	defer func() { <-f.checks }()
	prepared := preparePassword(password)
	for _, v := range against {
		if f.match(v, password) || prepared != password && v.scheme != Scram && f.match(v, prepared) {
			return password != "", nil
		}
	}
	return false, nil
}
