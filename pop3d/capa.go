package pop3d

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// capa is CAPA (RFC 2449 5). It says what is true on this connection: USER, SASL and STLS depend on TLS.
func (s *session) capa(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("CAPA takes no argument")
	}
	if err := s.ok("capabilities follow"); err != nil {
		return err
	}
	for _, n := range s.capabilities() {
		if err := s.line(n); err != nil {
			return err
		}
	}
	return s.endList()
}

func (s *session) capabilities() []string {
	if s.told != nil {
		return s.told
	}
	names := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER", "LANG", "EXPIRE " + s.opt.Expire, "IMPLEMENTATION Posthouse"}
	if s.opt.LoginDelay > 0 {
		names = append(names, "LOGIN-DELAY "+strconv.FormatInt(int64((s.opt.LoginDelay+time.Second-1)/time.Second), 10))
	}
	if s.tls != nil {
		names = append(names, "USER", "SASL "+strings.Join(s.mechanisms(), " "))
	} else if s.offersTLS() {
		names = append(names, "STLS")
	}
	return names
}

func (s *session) offersTLS() bool { return s.opt.TLS != nil && s.mode == StartTLS }

// endList ends a multi-line answer whose lines begin with no dot.
func (s *session) endList() error {
	return s.line(".")
}

// line puts one line of an answer.
func (s *session) line(text string) error {
	out, err := s.room(lineRoom)
	if err == nil {
		s.out = append(append(out, text...), '\r', '\n')
	}
	return err
}
