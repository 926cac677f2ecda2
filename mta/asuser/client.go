package asuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
)

// Client asks as-user at a socket.
type Client struct{ Path string }

// ErrRefused says that as-user does not do what it was asked to: it is not for who asks, or not for that user.
var ErrRefused = errors.New("as-user refuses")

// answerTime bounds the wait for the first reply: passwords wait for a turn.
const answerTime = 30 * time.Second

// Deliver runs deliver-local as a user, with in as its standard input and out as its standard output, both of which it
// takes over. It returns the status with which the process ended. When ctx ends, the process and what it started are killed.
func (c Client) Deliver(ctx context.Context, user string, in, out *os.File) (status int, err error) {
	return c.run(ctx, Request{Op: Deliver, User: user}, in, out)
}

// Program is Deliver for a program of the configuration.
func (c Client) Program(ctx context.Context, name string, in, out *os.File) (status int, err error) {
	return c.run(ctx, Request{Op: Program, Program: name}, in, out)
}

func (c Client) run(ctx context.Context, r Request, in, out *os.File) (int, error) {
	conn, err := c.ask(ctx, r, in, out)
	_ = in.Close()
	_ = out.Close()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Time{})
	end, err := readReply(conn)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, fmt.Errorf("as-user: %w", err)
	case end.Why != "":
		return end.Status, fmt.Errorf("%s: killed: %s", r.name(), end.Why)
	}
	return end.Status, nil
}

// Check says whether a password is the user's: nil, or mta.ErrCredentials.
func (c Client) Check(ctx context.Context, user, password string) error {
	conn, err := c.ask(ctx, Request{Op: Check, User: user, Password: password})
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// Session checks a password and, when it is the user's, starts a POP3 session as that user on sock, which it takes over.
// The session lasts until the other end of sock is closed, or what Session returns.
func (c Client) Session(ctx context.Context, user, password string, sock *os.File) (io.Closer, error) {
	conn, err := c.ask(ctx, Request{Op: Session, User: user, Password: password}, sock)
	_ = sock.Close()
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// ask sends a request and reads whether it is granted.
func (c Client) ask(ctx context.Context, r Request, files ...*os.File) (*net.UnixConn, error) {
	if (r.Op == Check || r.Op == Session) && (!IsName(r.User) || r.Password == "" || len(r.Password) > maxPassword || strings.ContainsRune(r.Password, 0)) {
		return nil, mta.ErrCredentials // nobody's
	}
	b, err := r.Encode()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", c.Path)
	if err != nil {
		return nil, fmt.Errorf("as-user: %w", err)
	}
	conn := nc.(*net.UnixConn)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if ctx.Err() == nil {
		_ = conn.SetDeadline(time.Now().Add(answerTime))
	}
	err = send(conn, b, files)
	var reply Reply
	if err == nil {
		reply, err = readReply(conn)
	}
	if err == nil && !reply.Granted {
		err = reply.refusal(r)
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("as-user: %w", err)
	}
	return conn, nil
}

// send writes a frame in one message, whose first octet the descriptors come with.
func send(conn *net.UnixConn, b []byte, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) {
		_, err = conn.Write(b[n:])
	}
	return err
}

func (r Reply) refusal(req Request) error {
	switch r.Why {
	case WhyPassword:
		return mta.ErrCredentials
	case WhyFault:
		return fmt.Errorf("%s: %s", req.name(), r.Text)
	}
	return fmt.Errorf("%w: %s: %s", ErrRefused, req.name(), r.Text)
}

// name says what a request is for, without its password.
func (r Request) name() string {
	if r.Program != "" {
		return string(r.Op) + " " + r.Program
	}
	return string(r.Op) + " " + r.User
}

// Encode returns the frame of a request.
func (r Request) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return frame(r)
}

// IsName says whether a request can name a user so.
func IsName(s string) bool { return s != "" && isName(s) }

func readReply(r io.Reader) (Reply, error) {
	var reply Reply
	err := readFrame(r, &reply)
	return reply, err
}
