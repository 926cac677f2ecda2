package smtpd

import (
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/sasl"
)

// maxHelo bounds the name that a client gives itself: a domain's length (RFC 5321 4.5.3.1.2).
const maxHelo = mta.MaxDomainLen

// ehlo is RFC 5321 4.1.1.1. The extensions are those of the package comment.
func (s *session) ehlo(args string) mta.Reply {
	if r := s.greet(args); r.Code != 0 {
		return r
	}
	s.esmtp = true
	lines := []string{s.o.Hostname, "PIPELINING", "SIZE " + strconv.FormatInt(s.maxSize, 10), "8BITMIME", "CHUNKING", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
	if s.offersTLS() {
		lines = append(lines, "STARTTLS")
	}
	if s.offersAuth() {
		lines = append(lines, "AUTH "+strings.Join(sasl.Mechanisms(), " "))
	}
	return reply(250, "", strings.Join(lines, "\n"))
}

func (s *session) heloVerb(args string) mta.Reply {
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
	if s.o.RequireHelo && s.l.Role == mta.RoleMX {
		if _, err := mta.ParseDomain(name); err != nil {
			return reply(501, "5.5.4", "That is no host name and no address literal")
		}
	}
	s.helo = name
	s.reset()
	r := s.ask(mta.AtHello, &s.tx, mta.Address{})
	if r.Code != 0 {
		s.helo = ""
	}
	return r
}

// reset forgets the transaction.
func (s *session) reset() {
	s.dropChunks()
	s.tx = transaction{}
	s.settle(0)
}
