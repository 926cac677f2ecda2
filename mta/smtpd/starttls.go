package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// handshakeTime bounds a TLS handshake.
const handshakeTime = time.Minute

func (s *session) tlsConfig() *tls.Config {
	if s.l.TLS == NoTLS || s.o.TLS == nil {
		return nil
	}
	return s.o.TLS()
}

func (s *session) offersTLS() bool {
	return s.tls == nil && s.l.TLS == StartTLS && s.tlsConfig() != nil
}

// starttls is RFC 3207 4. Nothing that was said before survives.
func (s *session) starttls(args string) mta.Reply {
	switch {
	case s.tls != nil:
		return reply(503, "5.5.1", "TLS is active already")
	case !s.offersTLS():
		return reply(502, "5.5.1", "TLS is not available")
	case args != "":
		return reply(501, "5.5.4", "STARTTLS takes no argument")
	case s.helo == "":
		return s.unnamed()
	}
	leave, err := s.turn()
	if err != nil {
		return reply(454, "4.7.0", "TLS is not available now, try again later")
	}
	defer leave()
	if n := s.br.Buffered(); n > 0 {
		s.o.Log.SMTPPlaintextDiscarded(s.who(), n)
	}
	s.write(reply(220, "2.0.0", "Ready to start TLS"))
	if err := s.c.out.Flush(); err != nil {
		s.fail(err)
		return mta.Reply{}
	}
	s.startTLS()
	return mta.Reply{}
}

// turnTime is how long a client waits for its turn at a handshake.
const turnTime = 10 * time.Second

// turn waits until there is room for one more handshake.
func (s *session) turn() (leave func(), err error) {
	if s.o.Handshakes == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(s.c.ctx, turnTime)
	defer cancel()
	leave, err = s.o.Handshakes.Wait(ctx, s.remote.Addr())
	if err != nil {
		s.o.Log.SMTPTLSFailed(s.who(), errors.New("too many handshakes at once"))
		s.o.Metrics.tlsFailed.Inc()
	}
	return leave, err
}

// implicitTLS begins a session on a port where all is TLS.
func (s *session) implicitTLS() bool {
	leave, err := s.turn()
	if err != nil {
		s.end = true // tls-failed has said why
		return false
	}
	defer leave()
	return s.startTLS()
}

// startTLS does the handshake and forgets all that came before it. False: the session is over.
func (s *session) startTLS() bool {
	cfg := s.tlsConfig()
	if cfg == nil {
		s.end, s.reason = true, "no certificate"
		return false
	}
	if err := s.c.handshake(handshakeTime); err != nil {
		s.end, s.reason = true, err.Error()
		return false
	}
	over := tls.Server(s.c.Conn, cfg)
	ctx, cancel := context.WithTimeout(s.c.ctx, handshakeTime)
	defer cancel()
	if err := over.HandshakeContext(ctx); err != nil {
		s.o.Log.SMTPTLSFailed(s.who(), err)
		s.o.Metrics.tlsFailed.Inc()
		s.end = true // tls-failed has said why
		return false
	}
	s.c.upgrade(over)
	state := over.ConnectionState()
	s.tls = &state
	s.o.Metrics.tls.WithLabelValues(tlsconf.VersionName(state.Version)).Inc()
	s.release()
	s.freshReader()
	s.helo, s.esmtp, s.login = "", false, ""
	if s.l.Role == mta.RoleLocal {
		s.login = s.peer.Login
	}
	s.reset()
	return true
}
