package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Accounts is what the mechanisms ask of those who know the users; directory.File is one. A protocol that slows down who
// guesses passwords puts its own in front.
type Accounts interface {
	// Authenticate checks a password and returns the canonical login, an address. Errors: mta.ErrCredentials (as
	// errors.Is tells) for a refusal; any other for a fault of ours, after which the client may try again.
	Authenticate(ctx context.Context, login, password string) (identity string, err error)
	// Scram returns the canonical login and what is kept of its password for SCRAM-SHA-256. A login that is unknown or may
	// not come in is no error: it has the identity "" and a verifier of no password, the same each time, which nobody can
	// tell from a true one. Errors: mta.ErrTransition for a login that other mechanisms take; any other for a fault of ours.
	Scram(ctx context.Context, login string) (identity string, v mta.ScramVerifier, err error)
	// OffersScram says whether SCRAM-SHA-256 is to be offered, and whether SCRAM-SHA-256-PLUS is where it can be.
	OffersScram() (scram, plus bool)
}

// Errors that Next and New return beside those of Accounts. The replies are those of RFC 4954 section 6.
var (
	// ErrCredentials is the refusal, by another name: 535 5.7.8.
	ErrCredentials = mta.ErrCredentials
	// ErrTransition is for a login that this mechanism cannot check: 432 4.7.12.
	ErrTransition = mta.ErrTransition
	// ErrMalformed says that the client broke the mechanism's rules: 501 5.5.2.
	ErrMalformed = errors.New("malformed response")
	// ErrMechanism says that there is no such mechanism, or that it is not offered here: 504 5.5.4.
	ErrMechanism = errors.New("unknown mechanism")
	// ErrBindingType says that the client wants to bind to the connection in a way that is not offered here: 504 5.5.4.
	ErrBindingType = errors.New("channel binding type is not offered")
	// ErrBinding says that client and server are not at the two ends of one TLS connection, or that the client was not
	// shown the -PLUS mechanism that was offered: somebody may be in the middle. 535 5.7.8; no password was tried.
	ErrBinding = errors.New("channel binding does not fit")
)

// maxResponse bounds a decoded response, in octets: two names of 254 and a password of 1,024 fit well.
const maxResponse = 4096

// The mechanisms' names.
const (
	scramPlus   = "SCRAM-SHA-256-PLUS"
	scramSHA256 = "SCRAM-SHA-256"
)

// Server is one exchange. Next takes the client's response, decoded, and returns the next challenge, to be encoded; the
// first call has the initial response, or nil when there is none (an empty one is not nil). With done and no error the
// client is logged in as Identity. After done or an error the exchange is over.
type Server interface {
	Next(response []byte) (challenge []byte, done bool, err error)
	// Identity is the canonical login after success, "" before.
	Identity() string
}

// Mechanisms returns the names to offer on a connection with these bindings, in the order of preference.
func Mechanisms(accounts Accounts, bind Bindings) []string {
	names := make([]string, 0, 4)
	scram, plus := accounts.OffersScram()
	if scram && plus && len(bind) > 0 {
		names = append(names, scramPlus)
	}
	if scram {
		names = append(names, scramSHA256)
	}
	return append(names, "PLAIN", "LOGIN")
}

// New begins an exchange with one of the Mechanisms of this connection; the name is taken without regard to case. The
// context bounds the calls of Accounts, so it must last as long as the exchange.
func New(ctx context.Context, mechanism string, accounts Accounts, bind Bindings) (Server, error) {
	p := &password{ctx: ctx, accounts: accounts}
	switch name := strings.ToUpper(mechanism); name {
	case scramPlus, scramSHA256:
		scram, plus := accounts.OffersScram()
		if !plus {
			bind = nil
		}
		if !scram || name == scramPlus && len(bind) == 0 {
			break
		}
		return &scramServer{ctx: ctx, accounts: accounts, plus: name == scramPlus, bind: bind}, nil
	case "PLAIN":
		return newPlain(p), nil
	case "LOGIN":
		return &login{password: p}, nil
	}
	return nil, fmt.Errorf("%w %.32q", ErrMechanism, mechanism)
}

// password is what PLAIN and LOGIN end in.
type password struct {
	ctx      context.Context
	accounts Accounts
	identity string
}

func (p *password) Identity() string { return p.identity }

// check logs a user in.
func (p *password) check(authzid, authcid, pass string) error {
	if authcid == "" || pass == "" {
		return fmt.Errorf("empty login or password: %w", ErrMalformed)
	}
	identity, err := p.accounts.Authenticate(p.ctx, authcid, pass)
	if err != nil {
		return err
	}
	if !mayActAs(authzid, authcid, identity) {
		return fmt.Errorf("to act for another: %w", ErrCredentials)
	}
	p.identity = identity
	return nil
}

// mayActAs refuses who asks to act for another: RFC 4616 2 and RFC 5802 5.1 leave that to the server, and there is no one
// here who may.
func mayActAs(authzid, login, identity string) bool {
	return authzid == "" || authzid == login || strings.EqualFold(authzid, identity)
}
