package config

import (
	"io/fs"
	"os"
	"path/filepath"
)

// checkFiles looks at the files that the configuration names: whether they are there, and who can read what is secret.
func (r *reader) checkFiles() {
	c := r.cfg
	r.plainFile(r.root.get("tls", "certificate"), "tls.certificate", c.TLS.Certificate)
	r.secretFile(r.root.get("tls", "key"), "tls.key", c.TLS.Key)
	for i, s := range c.TLS.SNI {
		n := r.root.get("tls", "sni").item(i)
		r.plainFile(n.get("certificate"), "tls.sni.certificate", s.Certificate)
		r.secretFile(n.get("key"), "tls.sni.key", s.Key)
	}
	r.secretFile(r.root.get("outbound", "smart_host_login"), "outbound.smart_host_login", c.Outbound.SmartHostLogin)
	for i, route := range c.Routes {
		r.secretFile(r.root.get("route").item(i).get("login"), "route.login", route.Login)
	}
	r.plainFile(r.root.get("mailboxes", "welcome"), "mailboxes.welcome", c.Mailboxes.Welcome)
	for _, name := range c.LocalDomains() {
		r.plainFile(r.domains[name].get("aliases"), joinKey(joinKey("domains", name), "aliases"), c.Domains[name].Aliases)
	}
	r.programFile(r.root.get("acme", "dns_hook"), "acme.dns_hook", c.ACME.DNSHook) // for DNS-01
	if command := c.Users.Checkpassword.Command; len(command) > 0 && filepath.IsAbs(command[0]) {
		r.programFile(r.root.get("users", "checkpassword", "command"), "users.checkpassword.command", command[0])
	}
	r.checkDatabase()
	if n := r.usersNeeded(); n != nil && !c.Users.InDatabase() {
		r.secretFile(n, "users.file", c.Users.File)
	}
}

// usersNeeded returns the value that asks for the users file: the key itself, or a domain whose users it would hold.
// The domain of the host's name alone needs none: a host that only sends has no users.
func (r *reader) usersNeeded() *node {
	if n := r.root.get("users", "file"); n != nil {
		return n
	}
	for _, name := range r.cfg.LocalDomains() {
		if d := r.cfg.Domains[name]; d.Mailboxes == "virtual" && d.AliasOf == "" && r.domains[name] != nil {
			return r.domains[name]
		}
	}
	return nil
}

// plainFile checks that a file is there, and that nobody but the operator can have written it; "" is not set.
func (r *reader) plainFile(n *node, key, path string) fs.FileInfo {
	if path == "" {
		return nil
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		r.fault(n, key, "%v; allowed: a file that is there", err)
	case !st.Mode().IsRegular():
		r.fault(n, key, "%s is no file; allowed: a file", path)
	default:
		if err := trusted(st); err != nil {
			r.fault(n, key, "%s: %v", path, err)
			return nil
		}
		return st
	}
	return nil
}

// programFile is plainFile for what is to be run.
func (r *reader) programFile(n *node, key, path string) {
	st := r.plainFile(n, key, path)
	if st != nil && st.Mode().Perm()&0o111 == 0 {
		r.fault(n, key, "%s cannot be executed; allowed: a program (chmod 755)", path)
	}
}

func (r *reader) secretFile(n *node, key, path string) {
	st := r.plainFile(n, key, path)
	if st != nil && st.Mode().Perm()&0o007 != 0 {
		r.fault(n, key, "%s is a secret that everybody can read (mode %04o); allowed: 0640 or 0600", path, st.Mode().Perm())
	}
}

// UsersNeeded says whether mail or logins of this host depend on the users file.
func (c *Config) UsersNeeded() bool {
	for _, d := range c.Domains {
		if d.Mailboxes == "virtual" && d.AliasOf == "" && !d.Implicit {
			return true
		}
	}
	return false
}
