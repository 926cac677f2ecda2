package config

import "path/filepath"

// InDatabase says whether the users are in a database, and no users file counts.
func (u Users) InDatabase() bool { return u.Driver == "postgres" }

// checkDatabase looks at what the database of [users] needs.
func (r *reader) checkDatabase() {
	if !r.cfg.Users.InDatabase() {
		return
	}
	p, table := r.cfg.Users.Postgres, r.root.get("users", "postgres")
	if table == nil {
		table = r.root.get("users", "driver")
	}
	at := func(key string) *node {
		if n := table.get(key); n != nil {
			return n
		}
		return table
	}
	switch {
	case p.URLFile == "":
		r.fault(table, "users.postgres.url_file", "not set, though users.driver is \"postgres\"; allowed: a file with the database's URL")
	case !filepath.IsAbs(p.URLFile):
		r.fault(at("url_file"), "users.postgres.url_file", "%q; allowed: a path from / on", p.URLFile)
	default:
		r.secretFile(at("url_file"), "users.postgres.url_file", p.URLFile)
	}
	if p.User == "" {
		r.fault(at("user"), "users.postgres.user", "not set, though users.driver is \"postgres\"; allowed: a query with the address as $1")
	}
}
