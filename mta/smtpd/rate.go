package smtpd

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// Rates limits messages and recipients over time. Each counts one and returns 0; or how long to wait where that would be
// too many.
type Rates interface {
	Message(client netip.Addr, login string) time.Duration
	Recipient(login string) time.Duration
}

// longWait is how long a mail program may keep a message without its user being told: what takes longer is refused.
const longWait = time.Hour

// rate counts a recipient, and with the first the message. The local socket is free: what cron sends is not sent again.
func (s *session) rate() mta.Reply {
	if s.o.Rates == nil || s.peer != nil || s.login == "" && s.trusted() {
		return mta.Reply{}
	}
	if !s.tx.counted {
		if d := s.o.Rates.Message(s.remote.Addr(), s.login); d > 0 {
			return s.tooMany("messages", d)
		}
		s.tx.counted = true
	}
	if s.login == "" {
		return mta.Reply{}
	}
	if d := s.o.Rates.Recipient(s.login); d > 0 {
		return s.tooMany("recipients", d)
	}
	return mta.Reply{}
}

func (s *session) tooMany(what string, d time.Duration) mta.Reply {
	text := fmt.Sprintf("Too many %s, try again in %s", what, roughly(d))
	if s.login != "" && d > longWait {
		return reply(550, "5.7.1", text)
	}
	return reply(450, "4.7.1", text)
}

// roughly is a time in words, rounded up.
func roughly(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d > 2*u.unit {
			return fmt.Sprintf("%d %s", (d+u.unit-1)/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d seconds", (d+time.Second-1)/time.Second)
}
