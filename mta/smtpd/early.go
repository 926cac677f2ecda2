package smtpd

import (
	"errors"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// quiet lets greet_delay go by and listens: who talks before the greeting is no mail server (RFC 5321 3.1). False ends the
// session, which was told why.
func (s *session) quiet() bool {
	if s.o.GreetDelay <= 0 || !s.stranger() || s.l.TLS == Implicit {
		return true
	}
	back := s.c.listen(s.o.GreetDelay)
	_, err := s.br.Peek(1)
	back()
	switch {
	case errors.Is(err, errIdle):
		return true
	case err != nil:
		s.fail(err)
	default:
		r := s.early("connect", "before the greeting")
		s.o.Metrics.refused.WithLabelValues("connect", refusal(r)).Inc()
		s.write(r)
	}
	s.finish()
	return false
}

// early is the reply to a client that does not wait for its turn, and the end of its session.
func (s *session) early(stage, when string) mta.Reply {
	r := reply(554, "5.5.0", s.o.Hostname+" you talk "+when+", closing connection")
	s.o.Log.SMTPRejected(s.who(), stage, "", "", "", r)
	s.end = true
	return r
}

// outOfTurn says whether a stranger sent something behind a command that must be the last of a group (RFC 2920 3.1): what
// comes next depends on the reply, so this client does not listen to replies.
func (s *session) outOfTurn() bool {
	return s.o.RefuseEarly && s.br.Buffered() > 0 && s.stranger()
}

// listen makes the next read wait no longer than d, until it has been done.
func (c *conn) listen(d time.Duration) (back func()) {
	set := func(d time.Duration) (was time.Duration) {
		c.mu.Lock()
		defer c.mu.Unlock()
		was, c.idle = c.idle, d
		return was
	}
	was := set(d)
	return func() { set(was) }
}
