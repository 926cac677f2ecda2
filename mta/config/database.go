package config

import "path/filepath"

// InDatabase says whether the users are in a database or a directory, and no users file counts.
func (u Users) InDatabase() bool { return u.Driver == "postgres" || u.Driver == "ldap" }

// checkDatabase looks at what the database of [users] needs.
func (r *reader) checkDatabase() {
	u := r.cfg.Users
	if !u.InDatabase() {
		return
	}
	table := r.root.get("users", u.Driver)
	if table == nil {
		table = r.root.get("users", "driver")
	}
	at := func(key string) (*node, string) {
		name := "users." + u.Driver + "." + key
		if n := table.get(key); n != nil {
			return n, name
		}
		return table, name
	}
	fault := func(key, format string, args ...any) {
		n, name := at(key)
		r.fault(n, name, format, args...)
	}
	file, user, urls, question := u.Postgres.URLFile, u.Postgres.User, "the database's URL", "a query with the address as $1"
	if u.Driver == "ldap" {
		file, user, urls, question = u.LDAP.URLFile, u.LDAP.User, "the servers' URLs", "a filter, as (mail={address}) is"
		if u.LDAP.Base == "" {
			fault("base", "not set, though users.driver is \"ldap\"; allowed: the name under which the users are, as dc=example,dc=org is")
		}
	}
	switch {
	case file == "":
		fault("url_file", "not set, though users.driver is %q; allowed: a file with %s", u.Driver, urls)
	case !filepath.IsAbs(file):
		fault("url_file", "%q; allowed: a path from / on", file)
	default:
		n, name := at("url_file")
		r.secretFile(n, name, file)
	}
	if user == "" {
		fault("user", "not set, though users.driver is %q; allowed: %s", u.Driver, question)
	}
}
