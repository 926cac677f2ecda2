package dns

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// lookupProfile maps as browsers and RFC 5891 5 do; it lets underscores pass, which service names have.
func lookupProfile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.VerifyDNSLength(false))
}

// maxUnicode bounds what is converted: the conversion of a label takes the square of its length. No name of 253 octets
// is longer in UTF-8.
const maxUnicode = 1024

// ascii returns a name as it is asked: lower case, A-labels, without the final dot. It refuses what no host or service
// is called: empty and overlong labels, and characters other than letters, digits, hyphen and underscore.
func ascii(name string) (string, error) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxUnicode {
		return "", fmt.Errorf("%.80q: %w", name, ErrBadName)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c > 0x7e }) {
		a, err := lookupProfile().ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("%q: %w", name, ErrBadName)
		}
		name = a
	}
	name = strings.ToLower(name)
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("%q: %w", name, ErrBadName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notHostRune) {
			return "", fmt.Errorf("%q: %w", name, ErrBadName)
		}
	}
	return name, nil
}

// ASCII returns a domain as A-labels in lower case (RFC 5891 4.4), ErrBadName when it has no such form.
func ASCII(domain string) (string, error) { return ascii(domain) }

func notHostRune(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}
