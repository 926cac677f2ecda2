package main

import (
	"context"
	"errors"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/userdb"
)

// database tries each query of [users]; the users are those of the list, as far as it could be had.
func (c *checker) database(list []directory.User, err error) {
	if errors.Is(err, directory.ErrNotListed) {
		c.warnings = append(c.warnings, "users."+c.cfg.Users.Driver+".list: not set, so that mail in Junk and Trash stays, and this check does not see all users")
	} else if err != nil {
		c.problems = append(c.problems, err.Error())
		return
	}
	db, err := new(userdb.Opener).Open(c.cfg, directory.Options{DropVerifiers: true})
	if err != nil {
		c.problems = append(c.problems, err.Error())
		return
	}
	aliases := userdb.Aliases(c.cfg, db)
	nobody := mta.Address{Local: "posthouse-check", Domain: c.cfg.Hostname}
	if _, err := db.Lookup(context.Background(), nobody); err != nil && !errors.Is(err, directory.ErrUnknown) {
		c.problems = append(c.problems, err.Error())
		return
	}
	if aliases != nil {
		if _, err := aliases.Alias(context.Background(), nobody); err != nil {
			c.problems = append(c.problems, err.Error())
			return
		}
	}
	c.list, c.db, c.stored, c.read = list, db, aliases, true
	if c.resolves(c.cfg.PostmasterAddress()) {
		return
	}
	c.postmaster()
}

// resolves says whether the database has an alias or a user of that address.
func (c *checker) resolves(a mta.Address) bool {
	if _, err := c.db.Lookup(context.Background(), a); err == nil {
		return true
	}
	if c.stored == nil {
		return false
	}
	targets, err := c.stored.Alias(context.Background(), a)
	return err == nil && len(targets) > 0
}
