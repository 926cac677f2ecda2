package userdb

import (
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/posthouse-mail/posthouse/mta"
)

// filter is a search filter (RFC 4515), in which {address}, {local} and {domain} stand for parts of an address.
type filter string

// parseFilter checks one; "" is none. A filter about an address must name it: one that does not finds the same for all.
func parseFilter(key, text string, about bool) (filter, error) {
	if text == "" {
		return "", nil
	}
	f := filter(text)
	if about && !strings.Contains(text, "{address}") && !strings.Contains(text, "{local}") {
		return "", fmt.Errorf("%s: %q names no address; allowed: a filter with {address}, or with {local} and perhaps {domain}", key, text)
	}
	if _, err := ldap.CompileFilter(f.about(mta.Address{Local: "a", Domain: "example.org"})); err != nil {
		return "", fmt.Errorf("%s: %q: %w", key, text, err)
	}
	return f, nil
}

// about puts an address in, escaped, so that it is a value and nothing else.
func (f filter) about(a mta.Address) string {
	return strings.NewReplacer("{address}", ldap.EscapeFilter(a.Local+"@"+a.Domain), "{local}", ldap.EscapeFilter(a.Local),
		"{domain}", ldap.EscapeFilter(a.Domain)).Replace(string(f))
}
