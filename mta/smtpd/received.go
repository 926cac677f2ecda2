package smtpd

import (
	"strconv"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// receivedDate is RFC 5322 3.3 date-time.
const receivedDate = "Mon, 2 Jan 2006 15:04:05 -0700"

// received writes the trace field of RFC 5321 4.4. A recipient is named only where there is no other: a reader must not
// learn of Bcc.
func (s *session) received(id mta.ID, now time.Time) string {
	var b strings.Builder
	b.WriteString("Received: ")
	if s.peer != nil {
		b.WriteString("by " + s.o.Hostname + " (from uid " + strconv.FormatUint(uint64(s.peer.UID), 10) + ")")
	} else {
		ip := literal(s.remote.Addr().String(), s.remote.Addr().Is4())
		from := ip
		if name := s.name(); name != "" {
			from = name + " " + ip
		}
		b.WriteString("from " + s.heloDomain(ip) + " (" + from + ")\r\n\tby " + s.o.Hostname)
	}
	b.WriteString(" with " + s.proto())
	if s.tls != nil {
		b.WriteString("\r\n\t(" + tlsconf.Describe(*s.tls) + ")")
	}
	b.WriteString("\r\n\tid " + string(id))
	if len(s.tx.rcpts) == 1 {
		b.WriteString("\r\n\tfor <" + s.tx.rcpts[0].Address.String() + ">")
	}
	b.WriteString(";\r\n\t" + now.Format(receivedDate) + "\r\n")
	return b.String()
}

// literal is the address-literal of RFC 5321 4.1.3.
func literal(ip string, v4 bool) string {
	if v4 {
		return "[" + ip + "]"
	}
	return "[IPv6:" + ip + "]"
}

// heloDomain is the client's name where it can stand in a header field; otherwise the address stands for it.
func (s *session) heloDomain(ip string) string {
	d, err := mta.ParseDomain(s.helo)
	if err != nil || !s.tx.utf8 && !(mta.Address{Domain: d}).IsASCII() {
		return ip
	}
	return d
}

// proto is the "with" protocol: RFC 3848, and RFC 6531 4.3 for messages that need SMTPUTF8.
func (s *session) proto() string {
	if !s.esmtp {
		return "SMTP"
	}
	p := "ESMTP"
	switch {
	case s.lmtp() && s.tx.utf8:
		p = "UTF8LMTP"
	case s.lmtp():
		p = "LMTP"
	case s.tx.utf8:
		p = "UTF8SMTP"
	}
	if s.tls != nil {
		p += "S"
	}
	if s.login != "" && s.peer == nil {
		p += "A"
	}
	return p
}
