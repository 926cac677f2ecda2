package message

import (
	"errors"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
)

// ErrNoAuthor is for a message whose From names nobody.
var ErrNoAuthor = errors.New("no author in From")

// maxAuthors bounds the domains of one message's authors.
const maxAuthors = 8

// AuthorDomains returns the domains in the values of a message's From fields, each once and as they are written. Mostly there
// is one field with one address. A field that breaks RFC 5322 3.6.2 is read as a mail program may show it: whatever has the
// look of an address in it counts.
func AuthorDomains(from []string) ([]string, error) {
	var domains []string
	for _, value := range from {
		for _, d := range domainsOf(value) {
			if !slices.ContainsFunc(domains, func(have string) bool { return strings.EqualFold(have, d) }) {
				domains = append(domains, d)
			}
		}
	}
	switch {
	case len(domains) == 0:
		return nil, ErrNoAuthor
	case len(domains) > maxAuthors:
		return nil, errors.New("too many domains in From")
	}
	return domains, nil
}

func domainsOf(value string) []string {
	// Names in character sets that nobody here knows do not matter.
	p := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }}}
	list, err := p.ParseList(value)
	var domains []string
	for _, a := range list {
		domains = append(domains, a.Address[strings.LastIndexByte(a.Address, '@')+1:])
	}
	if err == nil {
		return domains
	}
	for _, part := range strings.Split(value, "@")[1:] {
		end := strings.IndexFunc(part, func(c rune) bool { return c <= ' ' || strings.ContainsRune("<>,;:()\"[]\\/=?", c) })
		if end < 0 {
			end = len(part)
		}
		if d := strings.Trim(part[:end], "."); strings.Contains(d, ".") {
			domains = append(domains, d)
		}
	}
	return domains
}
