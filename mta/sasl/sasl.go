// Package sasl is the server's side of the password mechanisms of SASL (RFC 4422): PLAIN (RFC 4616) and LOGIN, which has no
// RFC and which old mail programs insist on. smtpd uses it for AUTH (RFC 4954). It knows no user: the caller
// gives it an Authenticator. Nothing here may be offered on a connection without TLS; that is the caller's rule to keep.
package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gosasl "github.com/emersion/go-sasl"

	"github.com/posthouse-mail/posthouse/mta"
)

// Authenticator checks a password. Its identity is the canonical login, an address. Errors: mta.ErrCredentials (as
// errors.Is tells) for a refusal; any other for a fault of ours, after which the client may try again.
type Authenticator interface {
	Authenticate(ctx context.Context, login, password string) (identity string, err error)
}

// Errors that Next and New return beside the Authenticator's.
var (
	// ErrCredentials is the refusal, by another name: RFC 4954 4.2.2 answers 535 5.7.8.
	ErrCredentials = mta.ErrCredentials
	// ErrMalformed says that the client broke the mechanism's rules: RFC 4954 4 answers 501 5.5.2.
	ErrMalformed = errors.New("malformed response")
	// ErrMechanism says that there is no such mechanism: RFC 4954 4 answers 504 5.5.4.
	ErrMechanism = errors.New("unknown mechanism")
)

// maxResponse bounds a decoded response, in octets: two names of 254 and a password of 1,024 fit well.
const maxResponse = 4096

// Server is one exchange. Next takes the client's response, decoded, and returns the next challenge, to be encoded; the
// first call has the initial response, or nil when there is none (an empty one is not nil). With done and no error the
// client is logged in as Identity. After done or an error the exchange is over.
type Server interface {
	Next(response []byte) (challenge []byte, done bool, err error)
	// Identity is the canonical login after success, "" before.
	Identity() string
}

// Mechanisms returns the names to offer, in the order of preference.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN"} }

// New begins an exchange; the mechanism's name is taken without regard to case. The context bounds the password check.
func New(ctx context.Context, mechanism string, auth Authenticator) (Server, error) {
	p := &password{ctx: ctx, auth: auth}
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		return &plain{password: p, server: gosasl.NewPlainServer(p.check)}, nil
	case "LOGIN":
		return &login{password: p}, nil
	}
	return nil, fmt.Errorf("%w %.32q", ErrMechanism, mechanism)
}

// password is what both mechanisms end in.
type password struct {
	ctx      context.Context
	auth     Authenticator
	identity string
}

func (p *password) Identity() string { return p.identity }

// check logs a user in. Who asks to act for another is refused: RFC 4616 2 leaves that to the server, and there is no one
// here who may.
func (p *password) check(authzid, authcid, pass string) error {
	if authcid == "" || pass == "" {
		return fmt.Errorf("empty login or password: %w", ErrMalformed)
	}
	identity, err := p.auth.Authenticate(p.ctx, authcid, pass)
	if err != nil {
		return err
	}
	if authzid != "" && authzid != authcid && !strings.EqualFold(authzid, identity) {
		return fmt.Errorf("to act for another: %w", ErrCredentials)
	}
	p.identity = identity
	return nil
}
