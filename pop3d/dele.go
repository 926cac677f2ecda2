package pop3d

import "context"

// dele is DELE (RFC 1939 5): a mark, which QUIT makes true.
func (s *session) dele(_ context.Context, arg string) error {
	i, ok, err := s.message(arg)
	if !ok {
		return err
	}
	s.deleted[i] = true
	s.count--
	s.octets -= s.drop.Message(i).Size
	return s.ok("message %d deleted", i+1)
}

// rset is RSET (RFC 1939 5).
func (s *session) rset(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("RSET takes no argument")
	}
	clear(s.deleted)
	s.recount()
	return s.ok("%d messages (%d octets)", s.count, s.octets)
}

// noop is NOOP (RFC 1939 5).
func (s *session) noop(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("NOOP takes no argument")
	}
	return s.ok("done")
}

// quit is QUIT: before login it only ends the session, after it the marked messages are removed (RFC 1939 6).
func (s *session) quit(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("QUIT takes no argument")
	}
	failed := s.remove()
	// The next session may come as soon as the client has read the answer.
	if s.drop != nil {
		if err := s.drop.Close(); err != nil {
			s.opt.Log.POP3MessageFailed(s.id, s.identity, "", err)
		}
		s.drop = nil
	}
	var err error
	if failed > 0 {
		err = s.err("[SYS/TEMP] some deleted messages not removed")
	} else {
		err = s.ok("bye")
	}
	if err != nil {
		return err
	}
	return errQuit
}

// remove removes the marked messages and returns how many it could not; the log tells of the first of them.
func (s *session) remove() (failed int) {
	for i, gone := range s.deleted {
		if !gone {
			continue
		}
		err := s.drop.Remove(i)
		if err == nil {
			s.removed++
			continue
		}
		if failed == 0 {
			s.opt.Log.POP3MessageFailed(s.id, s.identity, s.drop.Message(i).Unique, err)
		}
		failed++
	}
	return failed
}
