package mta

import "time"

// Status is where a recipient stands after an attempt.
type Status uint8

// What is unknown is deferred: the zero Status.
const (
	Deferred  Status = iota // to be tried again
	Delivered               // in the mailbox, or accepted by the next host
	Failed                  // for good; the sender is told
)

func (s Status) String() string {
	switch s {
	case Delivered:
		return "delivered"
	case Failed:
		return "failed"
	}
	return "deferred"
}

// Outcome is what became of one recipient in one attempt. The zero Outcome is a deferral without a reason.
type Outcome struct {
	Status   Status
	Code     int    // SMTP reply code: the remote's, or the one that fits; 0 = 250, 450 or 550 by Status
	Enhanced string // enhanced status code (RFC 3463), "" = none
	Text     string // one printable line; it may be shown to the sender
	Host     string // who said it: the remote server's name, "" for ourselves
	Addr     string // the remote's address and port
	TLS      string // protocol and cipher of the connection, and what vouches for its end if anything does; "" = none
	DSN      bool   // of a success off this host: Host takes over the reports that the sender asked for (RFC 3461)
	By       bool   // ... and the deadline (RFC 2852)
	Final    bool   // ... and Host is where the way ends: it has put the message into the mailbox
	At       time.Time
	Cause    error // local detail, for the log alone
}

// Reply returns the outcome as a reply, with defaults for what is not set.
func (o Outcome) Reply() Reply {
	r := Reply{o.Code, o.Enhanced, o.Text}
	switch {
	case r.Code != 0:
	case o.Status == Delivered:
		r.Code = 250
	case o.Status == Failed:
		r.Code = 550
	default:
		r.Code = 450
	}
	return r
}
