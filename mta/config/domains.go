package config

import (
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// checkDomains puts the names of the domains in A-labels, adds the host's own, and follows alias_of.
func (r *reader) checkDomains() {
	given := r.root.get("domains")
	byName := map[string]*Domain{}
	r.domains = map[string]*node{}
	if given != nil {
		for _, k := range given.keys() {
			n, d := given.table[k], r.cfg.Domains[k]
			if d == nil {
				continue // no table: told already
			}
			ascii, unicode, err := domainName(k)
			if err != nil {
				r.fault(n, joinKey("domains", k), "%v; allowed: a name as in \"example.org\"", err)
				continue
			}
			if other := r.domains[ascii]; other != nil {
				r.fault(n, joinKey("domains", k), "the same domain as at %s:%d; allowed: once", other.file, other.line)
				continue
			}
			d.Name, d.Unicode = ascii, unicode
			byName[ascii], r.domains[ascii] = d, n
		}
	}
	r.cfg.Domains = byName
	r.addHostname()
	for _, name := range r.cfg.LocalDomains() {
		if n := r.domains[name]; n != nil {
			r.checkDomain(n, joinKey("domains", name), r.cfg.Domains[name])
		}
	}
}

// addHostname makes the host's name a local domain, as posthouse.toml(5) says.
func (r *reader) addHostname() {
	name := r.cfg.Hostname
	if r.cfg.Domains[name] != nil {
		return
	}
	d := &Domain{Name: name, Unicode: name, Implicit: true}
	if _, unicode, err := domainName(name); err == nil {
		d.Unicode = unicode
	}
	if err := setDefaults(d); err != nil {
		r.fault(nil, "hostname", "%v", err)
	}
	r.cfg.Domains[name] = d
}

func (r *reader) checkDomain(n *node, key string, d *Domain) {
	at := func(k string) *node {
		if v := n.get(k); v != nil {
			return v
		}
		return n
	}
	if d.AliasOf != "" {
		r.checkAliasOf(n, key, d)
	}
	if d.CatchAll != "" {
		r.recipient(at("catch_all"), joinKey(key, "catch_all"), d.CatchAll)
	}
	r.absoluteAt(at("aliases"), joinKey(key, "aliases"), d.Aliases)
	for _, s := range d.DKIM {
		if _, err := mta.ParseDomain(s); err != nil || strings.HasPrefix(s, "[") {
			r.fault(at("dkim"), joinKey(key, "dkim"), "%q is no selector; allowed: as in \"mail2026\"", s)
		}
	}
	if len(d.Delimiter) > 1 || strings.Trim(d.Delimiter, "+-_=.#~") != "" {
		r.fault(at("delimiter"), joinKey(key, "delimiter"), "%q; allowed: one of + - _ = . # ~, or \"\" for none", d.Delimiter)
	}
	if d.Mailboxes != "relay" {
		if v := n.get("recipients"); v != nil && d.Recipients != "users" {
			r.fault(v, joinKey(key, "recipients"), "%q where we are no backup MX; allowed: \"users\", or mailboxes = \"relay\"", d.Recipients)
		}
	} else if d.Recipients == "any" {
		r.warn("relay domain " + d.Name + " takes all recipients: what its host then refuses goes back to forged senders")
	}
}

// checkAliasOf puts AliasOf in A-labels. A chain of aliases would be a loop in the making.
func (r *reader) checkAliasOf(n *node, key string, d *Domain) {
	at, aliasKey := n.get("alias_of"), joinKey(key, "alias_of")
	ascii, _, err := domainName(d.AliasOf)
	other := r.cfg.Domains[ascii]
	switch {
	case err != nil:
		r.fault(at, aliasKey, "%q: %v; allowed: the name of another domain", d.AliasOf, err)
	case other == nil:
		r.fault(at, aliasKey, "there is no [domains.%q]; allowed: the name of another domain", d.AliasOf)
	case other == d:
		r.fault(at, aliasKey, "its own name; allowed: the name of another domain")
	case other.AliasOf != "":
		r.fault(at, aliasKey, "%q is itself an alias; allowed: a domain that is none", d.AliasOf)
	default:
		d.AliasOf = ascii
	}
	for _, k := range []string{"mailboxes", "catch_all", "aliases", "delimiter", "recipients", "dkim"} {
		if v := n.get(k); v != nil && !isDefault(k, v) {
			r.fault(v, joinKey(key, k), "set beside alias_of, which takes it from the other domain; allowed: one of them")
		}
	}
}

func isDefault(key string, n *node) bool {
	switch key {
	case "mailboxes":
		return n.scalar == "virtual"
	case "delimiter":
		return n.scalar == "+"
	case "recipients":
		return n.scalar == "users"
	case "dkim":
		return len(n.list) == 0
	}
	return n.scalar == ""
}

// DomainAliases gives each domain that is another's alias the name of that.
func (c *Config) DomainAliases() map[string]string {
	m := map[string]string{}
	for name, d := range c.Domains {
		if d.AliasOf != "" {
			m[name] = d.AliasOf
		}
	}
	return m
}
