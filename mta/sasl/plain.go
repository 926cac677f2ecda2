package sasl

import (
	"errors"
	"fmt"
	"unicode/utf8"

	gosasl "github.com/emersion/go-sasl"
)

// plain is PLAIN (RFC 4616): one response, authzid NUL authcid NUL password.
type plain struct {
	*password
	server gosasl.Server
	begun  bool
}

func newPlain(p *password) *plain { return &plain{password: p, server: gosasl.NewPlainServer(p.check)} }

func (s *plain) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil && s.begun {
		return nil, false, fmt.Errorf("no response: %w", ErrMalformed)
	}
	s.begun = true
	if err := checkResponse(response); err != nil {
		return nil, false, err
	}
	nuls := 0
	for _, c := range response {
		if c == 0 {
			nuls++
		}
	}
	if response != nil && nuls != 2 {
		return nil, false, fmt.Errorf("%d NUL: %w", nuls, ErrMalformed)
	}
	challenge, done, err = s.server.Next(response)
	if errors.Is(err, gosasl.ErrUnexpectedClientResponse) {
		err = fmt.Errorf("exchange is over: %w", ErrMalformed)
	}
	return challenge, done && err == nil, err
}

func checkResponse(response []byte) error {
	if len(response) > maxResponse {
		return fmt.Errorf("longer than %d octets: %w", maxResponse, ErrMalformed)
	}
	if !utf8.Valid(response) {
		return fmt.Errorf("not UTF-8: %w", ErrMalformed)
	}
	return nil
}
