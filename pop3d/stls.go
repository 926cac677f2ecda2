package pop3d

import "context"

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
	if err := s.w.Flush(); err != nil {
		return err
	}
	if err := s.startTLS(ctx, s.loginBy); err != nil {
		s.opt.Log.POP3TLSFailed(s.id, s.client(), err)
		return err
	}
	return nil
}
