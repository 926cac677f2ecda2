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
	mu   sync.Mutex // guards the rest
	same string     // what db was opened by
	db   *directory.Database
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
	return o.open(c, opt)
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

// Close ends what the database has going on beside questions, and waits for that.
func (o *Opener) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.db != nil {
		o.db.Close()
	}
}

// open goes on with the store of before, if the configuration asks for the same. Sessions go on with an old one: it is only no
// longer looked for when it does not answer, and lets its connections go when nobody uses them.
func (o *Opener) open(c *config.Config, opt directory.Options) (directory.Users, error) {
	u := c.Users
	switch u.Driver {
	case "postgres":
		url, err := readURL(u.Postgres.URLFile)
		if err != nil {
			return nil, err
		}
		return o.reuse(u.Driver, fmt.Sprintf("%q %+v", url, u.Postgres), opt, func() (directory.Store, error) {
			return openPostgres(url, u.Postgres)
		})
	case "ldap":
		text, err := readAccess(u.LDAP.URLFile)
		if err != nil {
			return nil, err
		}
		return o.reuse(u.Driver, fmt.Sprintf("%q %+v", text, u.LDAP), opt, func() (directory.Store, error) { return openLDAP(text, u.LDAP) })
	}
	return nil, fmt.Errorf("users.driver %q is not known", u.Driver)
}

func (o *Opener) reuse(driver, settings string, opt directory.Options, open func() (directory.Store, error)) (directory.Users, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if key := driver + " " + settings; o.same != key {
		s, err := open()
		if err != nil {
			return nil, err
		}
		if o.db != nil {
			o.db.Close()
		}
		o.db, o.same = directory.OpenDatabase(driver, s, opt), key
	}
	return o.db.With(opt), nil
}

// Aliases are those of a database; nil where the users are in a file, or no query asks for any.
func Aliases(c *config.Config, u directory.Users) directory.Aliases {
	if d, ok := u.(*directory.Database); ok && (c.Users.Driver == "postgres" && c.Users.Postgres.Alias != "" || c.Users.Driver == "ldap" && c.Users.LDAP.Alias != "") {
		return d
	}
	return nil
}
