package pop3d

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// LoginDelay says how long who fails to log in must wait; guard.LoginDelay is one.
type LoginDelay interface {
	// Delay is the wait before a password is checked.
	Delay(client netip.Addr, login string) time.Duration
	// Failed counts a refused password and returns the wait before the client is told.
	Failed(client netip.Addr, login string) time.Duration
	Succeeded(client netip.Addr, login string)
}

var _ LoginDelay = (*guard.LoginDelay)(nil)

// Handshakes bounds how many TLS handshakes go on at once; guard.Turns is one. done is called at the end of one.
type Handshakes interface {
	Wait(ctx context.Context, client netip.Addr) (done func(), err error)
}

var _ Handshakes = (*guard.Turns)(nil)

// Options is what a Server needs. All fields without a word on their zero value must be set.
type Options struct {
	Hostname      string      // for the greeting
	TLS           *tls.Config // nil: no TLS is offered, and so no login
	Auth          sasl.Accounts
	Elsewhere     Elsewhere                                      // nil: all mailboxes are served here
	Mailbox       func(identity string) (path string, err error) // the Maildir of who has logged in
	DefaultDomain string                                         // completes a login without a domain; "" leaves it as it is
	Conns         *guard.Conns
	Handshakes    Handshakes // nil: no bound
	Delay         LoginDelay
	LoginAttempts int           // per connection
	LoginTimeout  time.Duration // from the connection to the login, a TLS handshake included
	IdleTimeout   time.Duration // for one command line to arrive, and for 64 KB of an answer to be taken
	DrainTimeout  time.Duration // for an answer under way to be taken once the server stops
	LoginDelay    time.Duration // between the beginnings of two sessions of a mailbox; 0 = none
	Expire        string        // CAPA EXPIRE's argument (RFC 2449 6.7): "NEVER" or a number of days
	UIDL          string        // whose UIDLs go on: maildir.DovecotUIDLs, maildir.CourierUIDLs; "" = nobody's
	RefuseUTF8    bool          // a message whose header is not all ASCII, to who has not said UTF8 (RFC 6856 4)
	Metrics       *Metrics      // nil: nobody sees them
	Log           *maillog.Log  // nil: no log
}

// TLSMode is how a listener speaks TLS.
type TLSMode uint8

// StartTLS offers STLS where there is a certificate, Implicit begins with the handshake, NoTLS never offers any.
const (
	StartTLS TLSMode = iota
	Implicit
	NoTLS
)
