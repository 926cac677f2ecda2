package mtatest

import (
	"context"
	"errors"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Texts answer for TXT records, by name in lower case and without the final dot; what they do not have is dns.ErrNotFound.
type Texts map[string]string

// Later is the text of a record whose answer does not come.
const Later = "later"

// TXT is a resolver's.
func (x Texts) TXT(_ context.Context, name string) ([]string, error) {
	switch text, ok := x[name]; {
	case !ok:
		return nil, dns.ErrNotFound
	case text == Later:
		return nil, errors.New("server 192.0.2.53 did not answer")
	default:
		return []string{text}, nil
	}
}
