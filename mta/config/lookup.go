package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/posthouse-mail/posthouse/mta"
)

// domainName reads a domain name and returns it in A-labels and in U-labels (RFC 5890), both in lower case.
func domainName(s string) (ascii, unicode string, err error) {
	if strings.HasPrefix(s, "[") {
		return "", "", errors.New("an address literal is no domain name")
	}
	if s, err = mta.ParseDomain(s); err != nil {
		return "", "", errors.New("no domain name")
	}
	if ascii, err = toASCII(s); err != nil {
		return "", "", errors.New("no domain name of IDNA (RFC 5891)")
	}
	if unicode, err = idna.Lookup.ToUnicode(ascii); err != nil {
		unicode = ascii // an A-label that decodes to nothing valid is only a name in ASCII
	}
	return ascii, unicode, nil
}

// toASCII leaves a name in ASCII as it is: real names hold underscores, which IDNA's strict rules refuse.
func toASCII(s string) (string, error) {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 {
		return s, nil
	}
	return idna.Lookup.ToASCII(s)
}

// LocalDomains returns the names of all domains that are ours, in A-labels, sorted: relay domains and aliases too.
func (c *Config) LocalDomains() []string { return slices.Sorted(maps.Keys(c.Domains)) }

// Domain returns the domain that holds the users of name, which may be in U-labels and in any case: where alias_of
// leads to another domain, that other one. It returns nil where name is not ours.
func (c *Config) Domain(name string) *Domain {
	d := c.Domains[canonical(name)]
	if d != nil && d.AliasOf != "" {
		return c.Domains[d.AliasOf]
	}
	return d
}

// IsLocal says whether name is one of our domains.
func (c *Config) IsLocal(name string) bool { return c.Domains[canonical(name)] != nil }

func canonical(name string) string {
	name = strings.ToLower(name)
	if ascii, err := toASCII(name); err == nil {
		return ascii
	}
	return name
}

// Matches says whether the route is for a domain, which may be in U-labels and in any case. ".example.org" matches the
// names under example.org, and not example.org itself.
func (r Route) Matches(domain string) bool {
	domain = canonical(domain)
	switch {
	case r.Domain == "*":
		return true
	case strings.HasPrefix(r.Domain, "."):
		return strings.HasSuffix(domain, r.Domain) && len(domain) > len(r.Domain)
	}
	return domain == r.Domain
}

// Warnings returns what is allowed and yet probably not meant, a sentence each.
func (c *Config) Warnings() []string { return slices.Clone(c.warnings) }
