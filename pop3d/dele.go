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
	s.octets -= s.drop.Size(i)
	return s.ok("message %d deleted", i+1)
}

// rset is RSET (RFC 1939 5).
func (s *session) rset(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("RSET takes no argument")
	}
	if s.count < len(s.deleted) { // a pipeline of it must cost little in a mailbox of a million
		clear(s.deleted)
	}
	s.count, s.octets = len(s.deleted), s.all
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
	marked, failed, err := s.remove()
	// The next session may come as soon as the client has read the answer.
	s.closeDrop()
	switch {
	case failed > 0:
		err = s.err("[SYS/TEMP] %d of %d deleted messages not removed", failed, marked)
	case err != nil:
		err = s.err("[SYS/TEMP] deleted messages removed, but they may come back")
	default:
		err = s.ok("bye")
	}
	if err != nil {
		return err
	}
	return errQuit
}

// remove removes the marked messages and returns how many it could not; the log tells of the first of them. The error says
// that those which were removed may come back after a crash.
func (s *session) remove() (marked, failed int, err error) {
	var which []int
	for i, gone := range s.deleted {
		if gone {
			which = append(which, i)
		}
	}
	if len(which) == 0 {
		return 0, 0, nil
	}
	err = s.drop.Remove(which, func(i int, err error) {
		if err == nil {
			s.removed++
			return
		}
		if failed++; failed == 1 {
			s.opt.Log.POP3MessageFailed(s.id, s.identity, string(s.drop.Unique(i)), err)
		}
	})
	if err != nil {
		s.opt.Log.POP3MessageFailed(s.id, s.identity, "", err)
	}
	s.opt.Metrics.deleted.Add(float64(s.removed))
	s.opt.Metrics.undeleted.Add(float64(failed))
	return len(which), failed, err
}

// closeDrop gives the mailbox back.
func (s *session) closeDrop() {
	if s.drop == nil {
		return
	}
	if err := s.drop.Close(); err != nil {
		s.opt.Log.POP3MessageFailed(s.id, s.identity, "", err)
	}
	s.drop = nil
}
