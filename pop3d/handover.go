package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// Elsewhere serves the mailboxes of some logins in processes of their own, which may do what this one may not: those of
// users of the machine.
type Elsewhere interface {
	// Serves says whether a login is one of those.
	Serves(login string) bool
	// Open checks the password and starts the process, which waits for what hand says; the errors are those of
	// sasl.Accounts.Authenticate. Closing the connection ends the process.
	Open(ctx context.Context, login, password string) (identity string, process net.Conn, err error)
}

// Errands between the two processes.
type (
	// handover is what the process learns first, in one line of JSON. From then on the connection is the client's.
	handover struct {
		Session      string        `json:"session"`
		Identity     string        `json:"identity"`
		Mailbox      string        `json:"mailbox"` // a path, or one from ~/ on
		Capabilities []string      `json:"capabilities"`
		UIDL         string        `json:"uidl,omitempty"`
		RefuseUTF8   bool          `json:"refuse_utf8,omitempty"`
		UTF8         bool          `json:"utf8,omitempty"`
		Idle         time.Duration `json:"idle"`
		Drain        time.Duration `json:"drain"`
		LoginDelay   time.Duration `json:"login_delay,omitempty"`
	}
	// taken is its answer: how the mailbox was found, or why it was not opened.
	taken struct {
		Messages int    `json:"messages"`
		Octets   int64  `json:"octets"`
		Why      string `json:"why,omitempty"`
		Text     string `json:"text,omitempty"`
		// Unconfined says what the process can still do that it should not be able to.
		Unconfined string `json:"unconfined,omitempty"`
	}
)

// Why a mailbox was not opened.
const (
	whyInUse   = "in-use"
	whyTooSoon = "login-delay"
	whyMailbox = "mailbox"
	whyFault   = "fault"
)

// maxErrand bounds a line between the processes, and relayBlock what is passed on at once.
const (
	maxErrand  = 16 << 10
	relayBlock = 16 << 10
)

// handOver lets the process of the mailbox's owner serve the client.
func (s *session) handOver(ctx context.Context, login, identity string) error {
	process := s.handed
	s.handed = nil
	defer process.Close()
	began := time.Now()
	_ = process.SetDeadline(began.Add(s.opt.IdleTimeout))
	r := bufio.NewReaderSize(process, maxErrand)
	answer, err := s.hand(process, r, identity)
	if err != nil {
		return s.notOpened(login, err)
	}
	_ = process.SetDeadline(time.Time{})
	s.opt.Metrics.opening.Observe(time.Since(began).Seconds())
	s.opt.Metrics.logins.WithLabelValues(s.mech, "ok").Inc()
	s.opt.Metrics.sessions.Inc()
	s.identity = identity
	s.opt.Log.POP3Login(s.id, s.client(), s.mech, identity, s.describeTLS(), answer.Messages, answer.Octets)
	if answer.Unconfined != "" {
		s.opt.Log.POP3Unconfined(s.id, identity, fmt.Sprintf("%.300s", answer.Unconfined))
	}
	if err := s.ok("%d messages (%d octets)", answer.Messages, answer.Octets); err != nil {
		return err
	}
	return s.relay(ctx, process, r)
}

// hand tells the process what to do, and hears how that went.
func (s *session) hand(process net.Conn, r *bufio.Reader, identity string) (taken, error) {
	path, err := s.opt.Mailbox(identity)
	if err != nil {
		return taken{}, err
	}
	o := s.opt
	b, err := json.Marshal(handover{
		Session: s.id, Identity: identity, Mailbox: path, Capabilities: s.capabilities(), UIDL: o.UIDL, RefuseUTF8: o.RefuseUTF8, UTF8: s.utf8,
		Idle: o.IdleTimeout, Drain: o.DrainTimeout, LoginDelay: o.LoginDelay,
	})
	if err == nil {
		_, err = process.Write(append(b, '\n'))
	}
	if err != nil {
		return taken{}, fmt.Errorf("session of the user: %w", err)
	}
	line, err := r.ReadSlice('\n')
	var t taken
	if err == nil {
		err = json.Unmarshal(line, &t)
	}
	switch {
	case err != nil:
		return t, fmt.Errorf("session of the user: %w", err)
	case t.Why == whyInUse:
		return t, maildir.ErrInUse
	case t.Why == whyTooSoon:
		return t, maildir.ErrTooSoon
	case t.Why == whyMailbox:
		return t, fmt.Errorf("%w: %.300q", maildir.ErrBadMailbox, t.Text)
	case t.Why != "":
		return t, fmt.Errorf("session of the user: %.300q", t.Text)
	}
	return t, nil
}

// relay passes on what either side says until one of them ends. The process holds the client to the rules of POP3 and to
// the bounds in time; here there are bounds for the case that it does not.
func (s *session) relay(ctx context.Context, process net.Conn, r *bufio.Reader) error {
	heard := make(chan error, 1)
	go func() {
		err := s.fromClient(process)
		_ = process.SetReadDeadline(time.Now().Add(s.opt.IdleTimeout)) // its user may have stopped it
		heard <- err
	}()
	err := s.toClient(r)
	s.stopReading()
	gone := <-heard
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case gone != nil:
		return gone
	}
	return errQuit
}

// fromClient passes on what the client sends; the error is why the client sends no more, nil behind QUIT and where the
// process has ended.
func (s *session) fromClient(process net.Conn) error {
	b, quit := make([]byte, lineBuffer), false
	for {
		if s.r.Buffered() == 0 {
			s.mayRead(time.Now().Add(s.opt.IdleTimeout))
		}
		n, err := s.r.Read(b)
		if n > 0 {
			_ = process.SetWriteDeadline(time.Now().Add(s.opt.IdleTimeout))
			if _, werr := process.Write(b[:n]); werr != nil {
				return nil
			}
			quit = bytes.HasSuffix(bytes.ToUpper(b[:n]), []byte("QUIT\r\n"))
		}
		if err != nil {
			over := s.isOver() // asked first: the process may end by what follows
			if c, ok := process.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite() // an answer under way may go on
			}
			if quit || over {
				return nil
			}
			return err
		}
	}
}

// toClient passes on what the process says, until it has ended.
func (s *session) toClient(r io.Reader) error {
	b := make([]byte, relayBlock)
	for {
		if err := s.flush(); err != nil {
			return err
		}
		n, err := r.Read(b)
		s.begun, s.taken = time.Time{}, 0
		if n > 0 {
			out, rerr := s.room(n)
			if rerr != nil {
				return rerr
			}
			s.out = append(out, b[:n]...)
		}
		if err != nil {
			if ferr := s.flush(); ferr != nil {
				return ferr
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// mayRead bounds the wait for the client; stopReading ends it.
func (c *conn) mayRead(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining && !c.over {
		_ = c.raw.SetReadDeadline(deadline)
	}
}

func (c *conn) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

func (c *conn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	_ = c.raw.SetReadDeadline(time.Unix(1, 0))
}
