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
	if len(password) > MaxPassword || len(login) > mta.MaxPathLen || strings.ContainsRune(password, 0) {
		return "", mta.ErrCredentials
	}
	address, err := f.parseLogin(login)
	if err != nil {
		return "", mta.ErrCredentials // the form of a login says nothing of who exists
	}
	f.refresh()
	t := f.table.Load()
	user := f.find(t, address)
	may := user != nil && !user.Disabled && costOf(user.verifiers) != ""
	against := t.dummy
	if user != nil && costOf(user.verifiers) != "" {
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

// check tries the verifiers in turn, one check of the bound for all of them. Empty passwords match nothing.
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
	for _, v := range against {
		if v.usable() && f.match(v, password) {
			return password != "", nil
		}
	}
	return false, nil
}
