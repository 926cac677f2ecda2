package pop3d

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Authenticator checks a password; the identity it returns names the mailbox. Errors: mta.ErrCredentials (as errors.Is
// tells) for a refusal, any other for a fault of ours.
type Authenticator interface {
	Authenticate(ctx context.Context, login, password string) (identity string, err error)
}

// LoginDelay says how long who fails to log in must wait; guard.LoginDelay is one.
type LoginDelay interface {
	// Delay is the wait before a password is checked.
	Delay(client netip.Addr, login string) time.Duration
	// Failed counts a refused password and returns the wait before the client is told.
	Failed(client netip.Addr, login string) time.Duration
	Succeeded(client netip.Addr, login string)
}

var _ LoginDelay = (*guard.LoginDelay)(nil)

// Options is what a Server needs. All fields but TLS, DefaultDomain and Log must be set.
type Options struct {
	Hostname      string      // for the greeting
	TLS           *tls.Config // nil: no TLS is offered, and so no login
	Auth          Authenticator
	Mailbox       func(identity string) (path string, err error) // the Maildir of who has logged in
	DefaultDomain string                                         // completes a login without a domain; "" leaves it as it is
	Conns         *guard.Conns
	Delay         LoginDelay
	LoginAttempts int           // per connection
	LoginTimeout  time.Duration // from the connection to the login, a TLS handshake included
	IdleTimeout   time.Duration // for one command line to arrive, and for one block of an answer to be taken
	DrainTimeout  time.Duration // for an answer under way to be taken once the server stops
	Expire        string        // CAPA EXPIRE's argument (RFC 2449 6.7): "NEVER" or a number of days
	Log           *maillog.Log
}

// TLSMode is how a listener speaks TLS.
type TLSMode uint8

// StartTLS offers STLS where there is a certificate, Implicit begins with the handshake, NoTLS never offers any.
const (
	StartTLS TLSMode = iota
	Implicit
	NoTLS
)
