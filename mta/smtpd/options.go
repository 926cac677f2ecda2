package smtpd

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// Queue takes messages in.
type Queue interface {
	Begin() (Incoming, error)
}

// Incoming is one message on its way in. Write takes the content as it came, CR LF line ends and dots unstuffed. Commit
// returns nil only when the message is safe. Errors of both: spool.ErrFull is answered 452, spool.ErrUnknown not at all, any
// other 451. One of Commit and Abort ends it; Abort after Commit does nothing.
type Incoming interface {
	ID() mta.ID
	Write(p []byte) (int, error)
	Commit(e *mta.Envelope) error
	Abort()
}

// Router says what would become of a recipient.
type Router interface {
	// Accept has a temporary reason for any error; the client is told 451.
	Accept(ctx context.Context, rcpt mta.Address) (Destination, error)
}

// Destination is a Router's answer.
type Destination struct {
	Relay   bool        // it is not in a domain of ours: only who may relay may send there
	Refusal mta.Reply   // Code 0 = taken
	Login   mta.Address // whose mailbox it is; the zero Address: nobody's, or not known
	Quota   int64       // what that may hold, octets; 0 = anything, or not known
	// Verify asks the host that mail for the recipient goes on to; nil: nobody is asked. Code 0 = it takes the recipient.
	Verify func(ctx context.Context) mta.Reply
}

// Logins slows down who guesses passwords: Delay is how long to wait before a check, Failed how long a refusal takes in all.
type Logins interface {
	Delay(client netip.Addr, login string) time.Duration
	Failed(client netip.Addr, login string) time.Duration
	Succeeded(client netip.Addr, login string)
}

// Conns bounds connections, in all and per client. release is called once, at the end of the session.
type Conns interface {
	Admit(client netip.Addr) (release func(), err error)
}

// Handshakes bounds how many TLS handshakes go on at once. done is called once, at the end of one.
type Handshakes interface {
	Wait(ctx context.Context, client netip.Addr) (done func(), err error)
}

// Options are all that a session obeys. Each session keeps those that were in force when it began.
type Options struct {
	Hostname string // in the banner, in replies and in Received
	Queue    Queue
	Router   Router

	Auth    sasl.Accounts      // nil: no login
	Senders Senders            // nil: a login sends as anybody
	Logins  Logins             // nil: no delays
	Conns   Conns              // nil: no bounds
	TLS     func() *tls.Config // nil, or returns nil: no TLS
	Filters Filters            // nil: none
	Disk    func() error       // asked at MAIL and DATA; an error is 452 4.3.1. nil: not asked
	// Full says whether a mailbox has no room for a message of so many octets (0: its sender has not said how many). FullBounces
	// refuses such mail for good, where it may try again otherwise. nil: not asked. What programs of this machine send waits in
	// the queue instead.
	Full        func(login mta.Address, octets int64) bool
	FullBounces bool
	Peer        func(net.Conn) (Peer, error)
	Log         *maillog.Log
	Metrics     *Metrics       // nil: nobody sees them
	Trusted     []netip.Prefix // may relay without a login

	ProxyFrom   []netip.Prefix // speak the PROXY protocol, and must
	XclientFrom []netip.Prefix // may use XCLIENT

	Handshakes Handshakes // nil: no bound
	Rates      Rates      // nil: no limits
	Policy

	Sizes         map[string]int64 // the largest message by the listener's Name, octets
	MaxRecipients int
	MaxErrors     int
	MaxLine       int  // octets of a content line
	MaxHops       int  // Received fields
	RepairLF      bool // a bare LF in content becomes CR LF

	// Extensions that are offered only where the queue does what they promise.
	RequireTLS    bool          // REQUIRETLS, under TLS (RFC 8689)
	DeliverBy     bool          // DELIVERBY (RFC 2852)
	Priority      bool          // MT-PRIORITY, to who submits (RFC 6710)
	FutureRelease time.Duration // FUTURERELEASE, to who submits: the longest wait (RFC 4865); 0 = not offered

	Idle     time.Duration // between two reads or writes
	Session  time.Duration // in all
	Drain    time.Duration // for content that is arriving when the server is told to stop
	MinRate  int64         // octets a second, over any minute of content; 0 = any
	Shutdown time.Duration // for a reply to a client that does not read, while stopping; default 5 s
}

// TLSMode says how a listener uses TLS.
type TLSMode uint8

// TLS modes of a listener.
const (
	StartTLS TLSMode = iota // offered, when there is a certificate
	Implicit                // from the first octet
	NoTLS
)

// Listener is where connections come from.
type Listener struct {
	net.Listener
	Name           string // as the configuration has it; for the log
	Role           string // mta.RoleMX, RoleSubmission, RoleLocal or RoleLMTP
	TLS            TLSMode
	MaxMessageSize int64 // octets, where Options.Sizes has no other
}

// Peer is a client on a Unix socket, as the kernel names it.
type Peer struct {
	UID   uint32
	Login string
}
