package directory

import (
	"context"
	"errors"

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
	if !f.possible(login, password) {
		return "", mta.ErrCredentials
	}
	f.refresh()
	t := f.table.Load()
	user, _ := f.findLogin(t, login)
	against := t.dummy
	if user != nil && len(user.verifiers) > 0 {
		against = user.verifiers
	}
	return f.authenticate(ctx, user, against, password)
}

// findLogin returns the user of a login, nil if there is none, and the name under which it was looked for, which is the same
// for all ways to write the login.
func (f *File) findLogin(t *table, login string) (*User, string) {
	for _, a := range f.loginForms(login) {
		if u := f.find(t, a); u != nil {
			return u, f.key(u.Address).String()
		}
	}
	return nil, f.loginName(login)
}
