package smtpd

import "github.com/posthouse-mail/posthouse/mta"

// note counts a command, and logs the refusal of one whose own code does not: nothing is refused without a line in the log.
func (s *session) note(verb string, r mta.Reply) {
	s.o.Metrics.answered(verb, r)
	switch {
	case r.Code < 400:
	case verb == "MAIL", verb == "RCPT", verb == "DATA", verb == "BDAT": // at a stage of their own
	case r.Code == 535, r.Code == 454: // login-failed, binding-failed; fault, tls-failed
	case r.Code == 554 && r.Enhanced == "5.5.0": // early
	default:
		s.o.Log.SMTPRejected(s.who(), "command", "", "", "", r)
	}
}
