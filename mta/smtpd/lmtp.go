package smtpd

import "github.com/posthouse-mail/posthouse/mta"

// lmtp says whether the listener speaks LMTP (RFC 2033): other hosts of ours hand over there what they have accepted.
func (s *session) lmtp() bool { return s.l.Role == mta.RoleLMTP }

// lhlo is RFC 2033 4.1.
func (s *session) lhlo(args string) mta.Reply {
	if !s.lmtp() {
		return reply(502, "5.5.1", "This is SMTP, send EHLO")
	}
	return s.extended(args)
}

// mayDeliver puts off who is no host of ours: strangers are held to the rules of mx, and there are none here. One that the
// configuration has not heard of yet must not bounce its mail. What XCLIENT says of a client does not count.
func (s *session) mayDeliver() mta.Reply {
	if s.lmtp() && s.peer == nil && !within(s.o.Trusted, s.came.Addr()) {
		return reply(450, "4.7.1", "You may not deliver here")
	}
	return mta.Reply{}
}

// eachTime has the reply to a complete content said once for each RCPT that was answered with 250 (RFC 2033 4.2).
func (s *session) eachTime() {
	if s.lmtp() {
		s.more = max(0, s.tx.taken-1)
	}
}
