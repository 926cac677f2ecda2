package smtpd

import (
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// simple answers the verbs that change little or nothing.
func (s *session) simple(cmd smtp.Command) mta.Reply {
	switch cmd.Verb {
	case "RSET":
		s.reset()
		return reply(250, "2.0.0", "OK")
	case "NOOP":
		return reply(250, "2.0.0", "OK")
	case "VRFY": // RFC 5321 3.5.3: neither yes nor no
		if cmd.Args == "" {
			return reply(501, "5.5.4", "A user or mailbox name is needed")
		}
		return reply(252, "2.5.2", "Cannot verify the user, but will take a message for an existing one")
	case "HELP":
		if s.lmtp() {
			return reply(214, "2.0.0", "LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS")
		}
		return reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH")
	case "QUIT":
		s.end = true
		return reply(221, "2.0.0", s.o.Hostname+" closing connection")
	case "EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "XFORWARD":
		return reply(502, "5.5.1", "Command not implemented")
	}
	return reply(500, "5.5.1", "Command not recognized")
}
