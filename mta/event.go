package mta

import (
	"net/netip"
	"time"
)

// Stage is a point of an SMTP session at which filters are asked.
type Stage uint8

// The stages, in their order.
const (
	AtConnect   Stage = 1 + iota // nothing was said yet
	AtHello                      // HELO or EHLO
	AtSender                     // MAIL
	AtRecipient                  // RCPT, once for each
	AtMessage                    // the whole message is here
)

func (s Stage) String() string {
	switch s {
	case AtConnect:
		return "connect"
	case AtHello:
		return "hello"
	case AtSender:
		return "sender"
	case AtRecipient:
		return "recipient"
	case AtMessage:
		return "message"
	}
	return ""
}

// Event is all that is known of a session when filters are asked. What a stage does not know yet is zero.
type Event struct {
	Stage     Stage
	Session   string // as in the log
	Role      string
	Listener  string
	Client    netip.AddrPort // of the network
	Name      string         // verified host name
	Local     bool           // the client came by the Unix socket
	UID       uint32         // then
	TLS       string
	Cipher    string
	Login     string
	Helo      string
	ESMTP     bool
	HasSender bool // MAIL was given
	Sender    Address
	Body      string
	SMTPUTF8  bool
	Auth      string
	Size      int64       // as MAIL said it, 0 = not said
	Rcpt      Address     // AtRecipient
	Rcpts     []Recipient // that were taken so far
}

// Action is what filters decide together.
type Action uint8

// What a session does with a Verdict.
const (
	GoOn      Action = iota // nothing speaks against it
	Refuse                  // with Verdict.Reply, 4yz or 5yz
	Throw                   // say yes, and forget the message
	NotJudged               // the filters cannot say: Verdict.Reply is 4yz
)

// Verdict is what all filters of a stage come to.
type Verdict struct {
	Action Action
	Reply  Reply         // of Refuse and NotJudged
	By     string        // the filter that decided
	Delay  time.Duration // to wait before the reply
}

// Fate is what became of a message that filters have seen.
type Fate uint8

// Fates.
const (
	Committed Fate = 1 + iota // it is in the spool
	Refused                   // the client was told no
	Dropped                   // thrown away, or the client has gone
)
