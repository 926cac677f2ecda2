package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// checkPrograms looks at what as-user is to start.
func (r *reader) checkPrograms() {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	for _, name := range slices.Sorted(maps.Keys(r.cfg.Programs)) {
		p, n, key := r.cfg.Programs[name], r.root.get("programs", name), joinKey("programs", name)
		at := func(k string) *node {
			if v := n.get(k); v != nil {
				return v
			}
			return n
		}
		if len(name) > 64 || strings.Trim(name, letters+strings.ToUpper(letters)+"_.-") != "" || strings.HasPrefix(name, "-") || strings.HasPrefix(name, ".") {
			r.fault(n, key, "%q is no name of a program; allowed: letters, digits, _ . and -", name)
		}
		if len(p.Command) == 0 || !filepath.IsAbs(p.Command[0]) {
			r.fault(at("command"), joinKey(key, "command"), "%q; allowed: a program's path from / on, and its arguments", p.Command)
		}
		switch p.User {
		case "":
			r.fault(at("user"), joinKey(key, "user"), "missing; allowed: a user of this machine, not root")
		case "root":
			r.fault(at("user"), joinKey(key, "user"), "\"root\"; allowed: any other user of this machine")
		}
		for _, e := range p.Environment {
			if variable, _, ok := strings.Cut(e, "="); !ok || variable == "" || strings.ContainsRune(e, 0) {
				r.fault(at("environment"), joinKey(key, "environment"), "%q; allowed: NAME=VALUE", e)
			}
		}
	}
}

// checkCheckpassword looks at the program that is asked for passwords.
func (r *reader) checkCheckpassword() {
	const key = "users.checkpassword.command"
	command := r.cfg.Users.Checkpassword.Command
	if len(command) > 0 && !filepath.IsAbs(command[0]) {
		r.fault(r.root.get("users", "checkpassword", "command"), key, "%q; allowed: a program's path from / on, and its arguments", command)
	}
	if n := r.root.get("users", "driver"); r.cfg.Users.Driver == "checkpassword" && len(command) == 0 {
		r.fault(n, "users.driver", "\"checkpassword\" without %s; allowed: with the path of a program there", key)
	}
	if m := r.cfg.Mailboxes; m.SystemAccounts == "nss" && m.SystemPasswords == "shadow" && len(r.cfg.SystemDomains()) > 0 {
		r.warn(`mailboxes.system_accounts is "nss" and system_passwords "shadow": who is not in /etc/shadow gets mail and cannot log in; "checkpassword" asks PAM`)
	}
	if n := r.root.get("mailboxes", "system_passwords"); r.cfg.Mailboxes.SystemPasswords == "checkpassword" && len(command) == 0 {
		r.fault(n, "mailboxes.system_passwords", "\"checkpassword\" without %s; allowed: with the path of a program there", key)
	}
}

// PasswordProgram is the program that knows the passwords of virtual users, and its arguments; nil where the users file has them.
func (u Users) PasswordProgram() []string {
	if u.Driver == "checkpassword" {
		return u.Checkpassword.Command
	}
	return nil
}

// SystemDomains are the domains whose users are the machine's accounts, in A-labels.
func (c *Config) SystemDomains() map[string]bool {
	m := map[string]bool{}
	for name, d := range c.Domains {
		if d.Mailboxes == "system" && d.AliasOf == "" {
			m[name] = true
		}
	}
	return m
}
