package pop3d

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
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
	mech     string // by which the client logs in: USER, or a mechanism of SASL
	attempts int
	bad      int
	utf8     bool // the client has said UTF8

	identity string            // who is logged in; "" before that
	drop     *maildir.Maildrop // the snapshot; nil before login
	deleted  []bool            // by message
	count    int               // messages that are not deleted
	octets   int64             // and their size
	all      int64             // the size of all
	fetched  int               // messages that RETR sent whole
	removed  int               // messages that QUIT removed
	former   maildir.UIDLs     // what a former server showed; nil until it is wanted
	twins    map[int]string    // UIDLs of messages with equal names; nil until they are wanted

	handed net.Conn // the process that is to serve the client, between login and handover
	told   []string // the capabilities, where another process knows them; nil: they are ours
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
	"LANG": {(*session).lang, always},
	"UTF8": {(*session).utf8Mode, authorization},
	"QUIT": {(*session).quit, always},
	"STLS": {(*session).stls, authorization},
	"AUTH": {(*session).auth, authorization},
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
	s.closeDrop()
	s.dropHanded()
	_ = s.flush()
	by := reason(ctx, err)
	if s.identity != "" {
		s.opt.Metrics.ends.WithLabelValues(class(by)).Inc()
		s.opt.Metrics.sessions.Dec()
	}
	s.opt.Log.POP3Closed(s.id, s.client(), s.identity, by, s.fetched, s.removed, s.sent)
	_ = s.Close()
}

func (s *session) dialogue(ctx context.Context) error {
	if s.mode == Implicit {
		if err := s.handshake(ctx); err != nil {
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
// in one write. Lines that are no commands are answered here.
func (s *session) next(ctx context.Context) (command, error) {
	for {
		if ctx.Err() != nil {
			return command{}, s.leave(ctx.Err(), "[SYS/TEMP] server is stopping, try again later")
		}
		if err := s.await(); err != nil {
			return command{}, err
		}
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

// await gets ready to read a line: unless it is there already, answers go out, and the wait gets its end.
func (s *session) await() error {
	if s.hasLine() {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	deadline := s.loginBy
	if s.drop != nil {
		deadline = time.Now().Add(s.opt.IdleTimeout)
	}
	s.readBefore(deadline)
	return nil
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
		s.opt.Metrics.commands.WithLabelValues(c.verb).Inc()
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
	if err := s.flush(); err != nil {
		return err
	}
	return why
}

// ok answers +OK; err answers -ERR. The error is the connection's.
func (s *session) ok(format string, args ...any) error { return s.answer("+OK "+format, args) }

func (s *session) err(format string, args ...any) error { return s.answer("-ERR "+format, args) }

func (s *session) answer(format string, args []any) error {
	out, err := s.room(lineRoom)
	if err == nil {
		s.out = append(fmt.Appendf(out, format, args...), '\r', '\n')
	}
	return err
}

// okSize is what RETR answers, which is said more often than anything else.
func (s *session) okSize(octets int64) error {
	out, err := s.room(lineRoom)
	if err == nil {
		s.out = append(strconv.AppendInt(append(out, "+OK "...), octets, 10), " octets\r\n"...)
	}
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

// class is a reason as a label of the metrics, of which there are to be few.
func class(reason string) string {
	switch reason {
	case "quit", "timeout", "client left", "server stopped":
		return reason
	}
	return "error"
}
