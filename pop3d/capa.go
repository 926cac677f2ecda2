package pop3d

import "context"

// capa is CAPA (RFC 2449 5). It says what is true on this connection: USER and STLS depend on TLS.
func (s *session) capa(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("CAPA takes no argument")
	}
	names := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE " + s.opt.Expire, "IMPLEMENTATION Posthouse"}
	if s.tls != nil {
		names = append(names, "USER")
	} else if s.offersTLS() {
		names = append(names, "STLS")
	}
	if err := s.ok("capabilities follow"); err != nil {
		return err
	}
	for _, n := range names {
		if _, err := s.w.WriteString(n + "\r\n"); err != nil {
			return err
		}
	}
	return s.endList()
}

func (s *session) offersTLS() bool { return s.opt.TLS != nil && s.mode == StartTLS }

// endList ends a multi-line answer whose lines begin with no dot.
func (s *session) endList() error {
	_, err := s.w.WriteString(".\r\n")
	return err
}
