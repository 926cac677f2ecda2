package smtpd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sasl"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// maxHelo bounds the name that a client gives itself: a domain's length (RFC 5321 4.5.3.1.2).
const maxHelo = mta.MaxDomainLen

// ehlo is RFC 5321 4.1.1.1.
func (s *session) ehlo(args string) mta.Reply {
	if s.lmtp() {
		return speaksLMTP()
	}
	return s.extended(args)
}

// speaksLMTP answers who takes the listener for one of SMTP (RFC 2033 4.1).
func speaksLMTP() mta.Reply { return reply(500, "5.5.1", "This is LMTP, send LHLO") }

func (s *session) extended(args string) mta.Reply {
	if r := s.greet(args); r.Code != 0 {
		return r
	}
	s.esmtp = true
	return reply(250, "", s.o.Hostname+"\n"+strings.Join(s.extensions(), "\n"))
}

// extensions are those that hold for this client now.
func (s *session) extensions() []string {
	all := []string{"PIPELINING", "SIZE " + strconv.FormatInt(s.maxSize, 10), "8BITMIME", "CHUNKING", "SMTPUTF8", "DSN"}
	if s.offersFutureRelease() { // RFC 4865 4: the longest time, and the latest
		all = append(all, fmt.Sprintf("FUTURERELEASE %d %s", s.o.FutureRelease/time.Second, now().Add(s.o.FutureRelease).Format(time.RFC3339)))
	}
	if s.o.DeliverBy {
		all = append(all, "DELIVERBY")
	}
	if s.offersPriority() {
		all = append(all, "MT-PRIORITY")
	}
	if s.offersRequireTLS() {
		all = append(all, "REQUIRETLS")
	}
	all = append(all, "LIMITS RCPTMAX="+strconv.Itoa(s.o.MaxRecipients), "ENHANCEDSTATUSCODES")
	if s.mayXclient() {
		all = append(all, "XCLIENT "+smtp.XclientAttributes)
	}
	if s.offersTLS() {
		all = append(all, "STARTTLS")
	}
	if s.offersAuth() {
		all = append(all, "AUTH "+strings.Join(sasl.Mechanisms(s.o.Auth, sasl.BindingsOf(s.tls)), " "))
	}
	return all
}

// offersFutureRelease, offersPriority: a submission port alone, where every sender is known.
func (s *session) offersFutureRelease() bool {
	return s.o.FutureRelease > 0 && s.l.Role == mta.RoleSubmission
}

func (s *session) offersPriority() bool { return s.o.Priority && s.l.Role == mta.RoleSubmission }

// offersRequireTLS: what did not come by TLS cannot have been asked to stay on it (RFC 8689 2).
func (s *session) offersRequireTLS() bool { return s.o.RequireTLS && s.tls != nil }

func (s *session) heloVerb(args string) mta.Reply {
	if s.lmtp() {
		return speaksLMTP()
	}
	if r := s.greet(args); r.Code != 0 {
		return r
	}
	s.esmtp = false
	return reply(250, "", s.o.Hostname)
}

// greet takes the client's name and ends a transaction (RFC 5321 4.1.4).
func (s *session) greet(name string) mta.Reply {
	if name == "" || len(name) > maxHelo || strings.ContainsAny(name, " \t") {
		return reply(501, "5.5.4", "A host name or an address literal is needed")
	}
	if s.outOfTurn() {
		return s.early("hello", "before the reply to EHLO")
	}
	s.helo = name
	s.reset()
	r := s.ask(mta.AtHello, &s.tx, mta.Address{})
	if r.Code != 0 {
		s.helo = ""
	}
	return r
}

// unnamed answers who has not greeted yet.
func (s *session) unnamed() mta.Reply {
	if s.lmtp() {
		return reply(503, "5.5.1", "Send LHLO first")
	}
	return reply(503, "5.5.1", "Send EHLO first")
}

// reset forgets the transaction.
func (s *session) reset() {
	s.dropChunks()
	s.tx = transaction{}
	s.settle(0)
}
