package pop3d

import (
	"context"
	"errors"
	"time"
)

// stls is STLS (RFC 2595 4). Nothing of the plaintext survives it: USER is refused before, and what came in the same packet
// is dropped.
func (s *session) stls(ctx context.Context, arg string) error {
	switch {
	case arg != "":
		return s.err("STLS takes no argument")
	case s.tls != nil:
		return s.err("TLS is on already")
	case !s.offersTLS():
		return s.err("TLS is not offered here")
	}
	early := s.r.Buffered()
	if early > 0 {
		s.opt.Log.POP3PlaintextDropped(s.id, s.client(), early)
	}
	if err := s.ok("begin TLS"); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.utf8 = false // who said UTF8 in the clear may have been somebody else (RFC 2595 4)
	return s.handshake(ctx)
}

// turnTime is how long a client waits for its turn at a handshake.
const turnTime = 10 * time.Second

// handshake begins TLS, once there is room for one more handshake. An error ends the session.
func (s *session) handshake(ctx context.Context) error {
	leave, err := s.turn(ctx)
	if err == nil {
		defer leave()
		err = s.startTLS(ctx, s.loginBy)
	}
	if err != nil {
		s.opt.Metrics.tlsFailed.Inc()
		s.opt.Log.POP3TLSFailed(s.id, s.client(), err)
	}
	return err
}

func (s *session) turn(ctx context.Context) (leave func(), err error) {
	if s.opt.Handshakes == nil {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	if leave, err = s.opt.Handshakes.Wait(ctx, s.peer); err != nil {
		err = errors.New("too many handshakes at once")
	}
	return leave, err
}
