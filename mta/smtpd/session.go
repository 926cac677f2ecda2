package smtpd

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

// session is one dialogue. It belongs to the goroutine of run.
type session struct {
	o   *Options
	l   *Listener
	c   *conn
	br  *bufio.Reader // small or big.br
	big *block        // lent while content comes, nil otherwise

	small *bufio.Reader // of c

	id      string
	remote  netip.AddrPort // of a network client
	came    netip.AddrPort // the same, before any XCLIENT
	peer    *Peer          // of a Unix socket's client
	helo    string         // "" = not greeted yet
	esmtp   bool           // by EHLO
	tls     *tls.ConnectionState
	login   string
	reverse *reverse // nil: nobody looks for the client's name
	tx      transaction
	filters FilterSession // nil: none
	maxSize int64         // of a message
	errs    int           // commands refused for good
	spared  bool          // the refusal of this command does not count
	more    int           // how often the next reply is to be repeated; LMTP
	end     bool          // the session ends behind this reply
	reason  string        // why, for the log; "" = QUIT
}

// transaction is what MAIL begins and RSET, EHLO or the end of DATA ends (RFC 5321 3.3).
type transaction struct {
	open   bool
	sender mta.Address
	rcpts  []mta.Recipient
	seen   map[mta.Address]bool
	taken  int // how many RCPT were answered with 250
	body   string
	utf8   bool
	auth   string
	size   int64 // as SIZE has it; 0: it was not given
	wishes
	chunks  *chunks    // nil before the first BDAT
	policy  *mta.Reply // nil before the first recipient
	counted bool       // by Options.Rates
}

// smallBuffer holds any command line but AUTH's, and is all that an idle session keeps.
const smallBuffer = 4 << 10

func newSession(o *Options, l *Listener, c *conn) *session {
	size := l.MaxMessageSize
	if n, ok := o.Sizes[l.Name]; ok {
		size = n
	}
	small := bufio.NewReaderSize(c, smallBuffer)
	return &session{o: o, l: l, maxSize: size, c: c, br: small, small: small, id: newSessionID()}
}

// newSessionID returns 13 characters that no other session in the log has.
func newSessionID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// run holds the session from the first octet to the last, and closes the connection.
func (s *session) run() {
	defer s.release()
	defer s.dropChunks()
	defer func() { _ = s.c.Close() }() // of what the connection is by then: TLS says goodbye (RFC 8446 6.1)
	defer func() {
		if p := recover(); p != nil { // one client must not end the sessions of all others
			s.o.Log.SMTPFault(s.who(), "session", "", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	defer s.c.stop()
	leave, ok := s.admit()
	if !ok {
		return
	}
	defer leave()
	defer func() {
		s.o.Log.SMTPClosed(s.who(), s.reason)
		s.o.Metrics.connections.Dec()
		s.o.Metrics.ends.WithLabelValues(end(s.reason)).Inc()
	}()
	if s.l.TLS == Implicit && !s.implicitTLS() {
		return
	}
	s.findName()
	defer s.endName()
	defer s.endFilters()
	if !s.quiet() {
		return
	}
	if !s.askConnect() {
		return
	}
	s.write(s.banner())
	for !s.end {
		s.command()
	}
	s.finish()
}

func (s *session) banner() mta.Reply {
	if s.lmtp() {
		return reply(220, "", s.o.Hostname+" LMTP Posthouse")
	}
	return reply(220, "", s.o.Hostname+" ESMTP Posthouse")
}

// admit identifies the client and asks whether there is room for it. leave gives the room back.
func (s *session) admit() (leave func(), ok bool) {
	leave = func() {}
	refusal := reply(421, "4.3.0", s.o.Hostname+" cannot take the connection now, try again later")
	client, err := s.identify()
	if err == nil && s.o.Conns != nil {
		refusal = reply(421, "4.7.0", s.o.Hostname+" too many connections, try again later")
		leave, err = s.o.Conns.Admit(client)
	}
	if err != nil {
		s.o.Log.SMTPTurnedAway(s.who(), err)
		s.o.Metrics.turnedAway.Inc()
		if s.l.TLS != Implicit { // there, nobody could read it
			s.write(refusal)
			s.finish()
		}
		return nil, false
	}
	s.o.Log.SMTPConnected(s.who())
	s.o.Metrics.accepted.Inc()
	s.o.Metrics.connections.Inc()
	return leave, true
}

// finish sends what is still to be said. Its error has nobody to go to.
func (s *session) finish() { _ = s.c.out.Flush() }

// who describes the session for the log.
func (s *session) who() maillog.SMTPSession {
	return maillog.SMTPSession{ID: s.id, Listener: s.l.Name, Client: s.client(), Name: s.nameSoFar(), Helo: s.helo, Login: s.login}
}

// write queues a reply; it goes out before the session next waits.
func (s *session) write(r mta.Reply) {
	_, _ = s.c.out.Write(smtp.AppendReply(s.c.out.AvailableBuffer(), r, s.tx.utf8)) // the error stays in out and ends the next read
}

// fail ends the session because of a connection's error.
func (s *session) fail(err error) {
	s.end, s.reason = true, err.Error()
	switch {
	case errors.Is(err, errDraining):
		s.write(reply(421, "4.3.2", s.o.Hostname+" is shutting down, try again later"))
	case errors.Is(err, errIdle), errors.Is(err, errTooLong), errors.Is(err, errTooSlow):
		s.write(reply(421, "4.4.2", s.o.Hostname+" "+err.Error()+", closing connection"))
	case errors.Is(err, errEndlessLine):
		s.write(reply(500, "5.5.2", "Line too long, closing connection"))
	case errors.Is(err, errFarTooBig):
		if s.write(s.tooBig()); s.tx.chunks == nil {
			s.eachTime()
		}
		for ; s.more > 0; s.more-- {
			s.write(s.tooBig())
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		s.reason = "connection lost"
	}
}

// command reads one command and answers it.
func (s *session) command() {
	s.shrink()
	line, err := s.readLine()
	if err != nil {
		s.fail(err)
		return
	}
	if proto := alien(line.text); proto != "" {
		s.o.Log.SMTPNotSMTP(s.who(), proto)
		s.end = true
		return
	}
	r := line.fault
	if r.Code == 0 {
		r = s.dispatch(line.text)
	} else {
		s.note("", r)
	}
	if r.Code == 0 {
		return // it has been answered
	}
	if r.Code == 500 && mayBeBDAT(line.text) {
		s.end, s.reason = true, "bad BDAT"
	}
	s.write(r)
	for ; s.more > 0; s.more-- {
		s.write(r)
	}
	if r.Permanent() && !s.spared {
		s.refused()
	}
	s.spared = false
}

// refused counts against max_errors.
func (s *session) refused() {
	s.errs++
	if s.errs >= s.o.MaxErrors && !s.end {
		s.write(reply(421, "4.7.0", s.o.Hostname+" too many errors, closing connection"))
		s.end, s.reason = true, "too many errors"
	}
}

// dispatch answers a command; Code 0 means that it wrote its replies itself.
func (s *session) dispatch(line []byte) mta.Reply {
	cmd, err := smtp.ParseCommand(line)
	if err != nil {
		r := reply(500, "5.5.2", "Syntax error, command not recognized")
		if bytes.ContainsFunc(line, unicode.IsControl) {
			r = reply(500, "5.5.2", "Syntax error, a command has no control characters")
		}
		s.note("", r)
		return r
	}
	r := tooLong(cmd.Verb)
	if len(line)+2 <= smtp.MaxLine(cmd.Verb) {
		r = s.obey(cmd)
	}
	s.note(cmd.Verb, r)
	return r
}

func (s *session) obey(cmd smtp.Command) mta.Reply {
	switch cmd.Verb {
	case "EHLO":
		return s.ehlo(cmd.Args)
	case "HELO":
		return s.heloVerb(cmd.Args)
	case "LHLO":
		return s.lhlo(cmd.Args)
	case "MAIL":
		return s.mail(cmd.Args)
	case "RCPT":
		return s.rcpt(cmd.Args)
	case "DATA":
		return s.data(cmd.Args)
	case "BDAT":
		return s.bdat(cmd.Args)
	case "AUTH":
		return s.auth(cmd.Args)
	case "XCLIENT":
		return s.xclient(cmd.Args)
	case "STARTTLS":
		return s.starttls(cmd.Args)
	}
	return s.simple(cmd)
}

func reply(code int, enhanced, text string) mta.Reply {
	return mta.Reply{Code: code, Enhanced: enhanced, Text: text}
}
