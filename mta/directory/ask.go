package directory

import (
	"context"
	"fmt"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/checkpassword"
)

const (
	// maxPrograms bounds the programs at once, which wait more than they work.
	maxPrograms = 16
	// maxAsked is how long a password may be that a program is asked about: it leaves room for any address beside it.
	maxAsked = 240
)

// ask is Authenticate where a program knows the passwords, and the users file says who there is. For who may not log in it is
// asked for a stranger, so that it takes its time, and what it says does not count. Nothing is remembered: only the program
// knows for how long a password is right.
func (f *File) ask(ctx context.Context, login, password string) (identity string, err error) {
	if _, err := f.parseLogin(login); err != nil || len(login) > mta.MaxPathLen || len(password) > maxAsked {
		return "", mta.ErrCredentials
	}
	f.refresh()
	user, _ := f.findLogin(f.table.Load(), login)
	name := checkpassword.Stranger
	if user != nil && !user.Disabled {
		identity = user.Address.String()
		name = identity
	}
	select {
	case f.checks <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a password check: %w", ctx.Err())
	}
	defer func() { <-f.checks }()
	err = checkpassword.Program{Command: f.opt.Program}.Check(ctx, name, password)
	switch {
	case err != nil:
		return "", err
	case identity == "":
		return "", mta.ErrCredentials
	}
	return identity, nil
}
