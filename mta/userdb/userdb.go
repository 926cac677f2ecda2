// Package userdb opens the place where the users are kept that [users] names: a file, or a database. The drivers are here, and not
// in package directory, so that only programs that ask databases have them.
package userdb

import (
	"fmt"
	"sync"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// Opener opens [users] again whenever the configuration is read again, and goes on with the connections there are as long as
// it says the same. The zero value is ready; it is safe for use by many goroutines.
type Opener struct {
	mu    sync.Mutex // guards the rest
	same  string     // what store was opened by
	store directory.Store
}

// Open opens what a configuration names, which says more than the Options of domains and SCRAM. A database need not answer: what
// cannot be looked up is put off.
func (o *Opener) Open(c *config.Config, opt directory.Options) (directory.Users, error) {
	opt.DomainAlias, opt.Scram, opt.NoScramPlus = c.DomainAliases(), c.Users.Scram, !c.Users.ScramPlus
	if !c.Users.InDatabase() {
		opt.MayBeAbsent = !c.UsersNeeded()
		if !opt.DropVerifiers {
			opt.Program = c.Users.PasswordProgram()
		}
		return directory.Open(c.Users.File, opt)
	}
	store, err := o.open(c)
	if err != nil {
		return nil, err
	}
	return directory.OpenDatabase(c.Users.Driver, store, opt), nil
}

// Key names what in the configuration says where the users are.
func Key(c *config.Config) string {
	switch c.Users.Driver {
	case "postgres":
		return "users.postgres.url_file"
	case "ldap":
		return "users.ldap.url_file"
	}
	return "users.file"
}

// open is the store of before, if the configuration asks for the same. An old one is not closed: sessions go on with it, and
// it lets its connections go when nobody uses them.
func (o *Opener) open(c *config.Config) (directory.Store, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := c.Users
	switch u.Driver {
	case "postgres":
		url, err := readURL(u.Postgres.URLFile)
		if err != nil {
			return nil, err
		}
		return o.reuse(fmt.Sprintf("postgres %q %+v", url, u.Postgres), func() (directory.Store, error) {
			return openPostgres(url, u.Postgres)
		})
	case "ldap":
		text, err := readAccess(u.LDAP.URLFile)
		if err != nil {
			return nil, err
		}
		return o.reuse(fmt.Sprintf("ldap %q %+v", text, u.LDAP), func() (directory.Store, error) { return openLDAP(text, u.LDAP) })
	}
	return nil, fmt.Errorf("users.driver %q is not known", u.Driver)
}

func (o *Opener) reuse(key string, open func() (directory.Store, error)) (directory.Store, error) {
	if o.store != nil && o.same == key {
		return o.store, nil
	}
	s, err := open()
	if err == nil {
		o.store, o.same = s, key
	}
	return s, err
}

// Aliases are those of a database; nil where the users are in a file, or no query asks for any.
func Aliases(c *config.Config, u directory.Users) directory.Aliases {
	if d, ok := u.(*directory.Database); ok && (c.Users.Driver == "postgres" && c.Users.Postgres.Alias != "" || c.Users.Driver == "ldap" && c.Users.LDAP.Alias != "") {
		return d
	}
	return nil
}
