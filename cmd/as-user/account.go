package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthouse-mail/posthouse/mta/accounts"
)

// account is a user of the machine, with the groups beside the own.
type account struct {
	accounts.Account
	Groups []uint32
}

// errNobody says that nothing is started as that user.
var errNobody = errors.New("not one who gets mail")

// person is an account that gets mail: its uid is least or more. Whoever asks has no say in that: it is looked up here.
func (set *settings) person(ctx context.Context, name string, least int) (account, error) {
	a, err := set.from.Lookup(ctx, name)
	switch {
	case errors.Is(err, accounts.ErrUnknown):
		return account{}, fmt.Errorf("unknown user %s: %w", name, errNobody)
	case err != nil:
		return account{}, fmt.Errorf("user %s: %w", name, err)
	case !a.IsPerson(least):
		return account{}, fmt.Errorf("user %s has uid %d; mailboxes.system_min_uid is %d: %w", name, a.UID, least, errNobody)
	}
	groups, err := set.from.Groups(ctx, a)
	return account{a, groups}, err
}
