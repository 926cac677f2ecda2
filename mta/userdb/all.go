package userdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// maxFaults is how many users with faults are named: the same may be wrong with all of them.
const maxFaults = 20

// All returns all users, without their verifiers but with the names of their schemes: those of the users file in its order, or
// those of a database. Of these, the error is of the ones that cannot be read, and the others are there; it is
// directory.ErrNotListed where no query asks for all.
func (o *Opener) All(ctx context.Context, c *config.Config) ([]directory.User, error) {
	if !c.Users.InDatabase() {
		return directory.List(c.Users.File)
	}
	u, err := o.Open(c, directory.Options{})
	if err != nil {
		return nil, err
	}
	d, ok := u.(*directory.Database)
	if !ok {
		return nil, directory.ErrNotListed
	}
	list, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]directory.User, 0, len(list))
	faults := 0
	for _, a := range list {
		switch u, lerr := d.Lookup(ctx, a); {
		case errors.Is(lerr, directory.ErrAway) || ctx.Err() != nil:
			return all, lerr
		case errors.Is(lerr, directory.ErrUnknown): // gone meanwhile
		case lerr != nil:
			if faults++; faults <= maxFaults {
				err = errors.Join(err, lerr)
			}
		default:
			all = append(all, u)
		}
	}
	if faults > maxFaults {
		err = errors.Join(err, fmt.Errorf("%d more users have faults", faults-maxFaults))
	}
	return all, err
}
