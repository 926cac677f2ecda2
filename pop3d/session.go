package pop3d

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maildir"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// maxBad is how many commands in one session may be no commands.
const maxBad = 10

// errQuit ends a session after its last answer; all other errors of a verb end it at once.
var errQuit = errors.New("quit")

// session is one connection. It is for one goroutine.
type session struct {
	*conn
	opt     *Options
	id      string // for the log
	peer    netip.Addr
	mode    TLSMode
	loginBy time.Time

	user     string // what USER named; "" without one
	attempts int
	bad      int

	identity string            // who is logged in; "" before that
	drop     *maildir.Maildrop // the snapshot; nil before login
	deleted  []bool            // by message
	count    int               // messages that are not deleted
	octets   int64             // and their size
	fetched  int               // messages that RETR sent whole
	removed  int               // messages that QUIT removed
}

func newSession(opt *Options, c *conn, peer netip.Addr, mode TLSMode) *session {
	now := time.Now()
	return &session{conn: c, opt: opt, id: string(mta.NewID(now)), peer: peer, mode: mode, loginBy: now.Add(opt.LoginTimeout)}
}

// verb is a command's work. An error ends the session.
type verb struct {
	do    func(s *session, ctx context.Context, arg string) error
	state state
}

// state is when a verb may be used (RFC 1939 3).
type state uint8

const (
	authorization state = 1 << iota
	transaction
	always = authorization | transaction
)

var verbs = map[string]verb{
	"CAPA": {(*session).capa, always},
	"QUIT": {(*session).quit, always},
	"STLS": {(*session).stls, authorization},
	"USER": {(*session).userName, authorization},
	"PASS": {(*session).pass, authorization},
	"STAT": {(*session).stat, transaction},
	"LIST": {(*session).list, transaction},
	"UIDL": {(*session).uidl, transaction},
	"RETR": {(*session).retr, transaction},
	"TOP":  {(*session).top, transaction},
	"DELE": {(*session).dele, transaction},
	"RSET": {(*session).rset, transaction},
	"NOOP": {(*session).noop, transaction},
}

// run is the whole dialogue.
func (s *session) run(ctx context.Context) {
	err := s.dialogue(ctx)
	if s.drop != nil {
		_ = s.drop.Close()
	}
	_ = s.w.Flush()
	s.opt.Log.POP3Closed(s.id, s.client(), s.identity, reason(ctx, err), s.fetched, s.removed, s.sent)
	_ = s.Close()
}

func (s *session) dialogue(ctx context.Context) error {
	if s.mode == Implicit {
		if err := s.startTLS(ctx, s.loginBy); err != nil {
			s.opt.Log.POP3TLSFailed(s.id, s.client(), err)
			return err
		}
	}
	if err := s.ok("%s POP3 server ready", s.opt.Hostname); err != nil {
		return err
	}
	for {
		c, err := s.next(ctx)
		if err == nil {
			err = s.perform(ctx, c)
		}
		if err != nil {
			return err
		}
	}
}

// next reads a command; answers wait in the buffer for as long as more commands are there, so that a pipeline is answered
// in few packets. Lines that are no commands are answered here.
func (s *session) next(ctx context.Context) (command, error) {
	for {
		if ctx.Err() != nil {
			return command{}, s.leave(ctx.Err(), "[SYS/TEMP] server is stopping, try again later")
		}
		if s.r.Buffered() == 0 {
			if err := s.w.Flush(); err != nil {
				return command{}, err
			}
		}
		deadline := s.loginBy
		if s.drop != nil {
			deadline = time.Now().Add(s.opt.IdleTimeout)
		}
		s.readBefore(deadline)
		c, err := readCommand(s.r)
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, errLineLong), errors.Is(err, errLineEnd), errors.Is(err, errControl), errors.Is(err, errEmpty):
			if err := s.badCommand(err.Error()); err != nil {
				return command{}, err
			}
		case ctx.Err() != nil:
			return command{}, s.leave(ctx.Err(), "[SYS/TEMP] server is stopping, try again later")
		case errors.Is(err, os.ErrDeadlineExceeded):
			return command{}, err // without a word (RFC 1939 3)
		case errors.Is(err, errFlood):
			return command{}, s.leave(err, err.Error())
		default:
			return command{}, err
		}
	}
}

func (s *session) perform(ctx context.Context, c command) error {
	v, ok := verbs[c.verb]
	now := authorization
	if s.drop != nil {
		now = transaction
	}
	switch {
	case !ok:
		return s.badCommand("unknown command")
	case v.state&now != 0:
		return v.do(s, ctx, c.arg)
	case now == authorization:
		return s.badCommand("log in first")
	}
	return s.badCommand("not after login")
}

// badCommand answers what is no command, and ends a session that sends little else.
func (s *session) badCommand(text string) error {
	if s.bad++; s.bad >= maxBad {
		return s.leave(errTooMany, errTooMany.Error())
	}
	return s.err("%s", text)
}

var errTooMany = errors.New("too many bad commands")

// leave sends a last line and returns why.
func (s *session) leave(why error, text string) error {
	if err := s.err("%s", text); err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	return why
}

// ok answers +OK; err answers -ERR. The error is the connection's.
func (s *session) ok(format string, args ...any) error {
	_, err := fmt.Fprintf(s.w, "+OK "+format+"\r\n", args...)
	return err
}

func (s *session) err(format string, args ...any) error {
	_, err := fmt.Fprintf(s.w, "-ERR "+format+"\r\n", args...)
	return err
}

func (s *session) client() string { return s.raw.RemoteAddr().String() }

func (s *session) describeTLS() string {
	if s.tls == nil {
		return ""
	}
	return tlsconf.Describe(*s.tls)
}

// reason is why a session ended, for the log.
func reason(ctx context.Context, err error) string {
	switch {
	case errors.Is(err, errQuit):
		return "quit"
	case ctx.Err() != nil:
		return "server stopped"
	case errors.Is(err, errCut):
		return errCut.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "client left"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	}
	return err.Error()
}
