package smtpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

var (
	// ErrTLS is wrapped by the error of a TLS handshake that failed: another connection without TLS may work.
	ErrTLS = errors.New("TLS handshake")
	// ErrInjected says that octets came between the reply to STARTTLS and the handshake: somebody on the way put them
	// there, or the server is broken.
	ErrInjected = errors.New("plain text after the reply to STARTTLS")
	// ErrUnverified says that a password would have gone over a connection whose other end is not known for certain.
	ErrUnverified = errors.New("login over unverified TLS")
	// ErrNoPlain says that the server does not offer AUTH PLAIN.
	ErrNoPlain = errors.New("server does not offer AUTH PLAIN")
)

// Timeouts are how long the server may take; a zero one is the RFC's (RFC 5321 4.5.3.2).
type Timeouts struct {
	Greeting  time.Duration // 5 min
	Command   time.Duration // EHLO, MAIL, RCPT, AUTH: 5 min
	Handshake time.Duration // of TLS: 1 min
	Data      time.Duration // DATA: 2 min
	Block     time.Duration // one write: 3 min
	End       time.Duration // the reply to the end of data: 10 min
	Quit      time.Duration // 5 s
}

func (t Timeouts) filled() Timeouts {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Greeting, 5*time.Minute)
	set(&t.Command, 5*time.Minute)
	set(&t.Handshake, time.Minute)
	set(&t.Data, 2*time.Minute)
	set(&t.Block, 3*time.Minute)
	set(&t.End, 10*time.Minute)
	set(&t.Quit, 5*time.Second)
	return t
}

// replyLine bounds a line of a reply. RFC 5321 4.5.3.1.5 says 512; some servers explain themselves at length.
const replyLine = 4 << 10

// Client is a connection. It is for one goroutine; its owner closes it.
type Client struct {
	ctx  context.Context
	stop func() bool
	conn net.Conn
	br   *bufio.Reader
	helo string
	to   Timeouts
	ext  smtp.Extensions
	tls  *tls.ConnectionState
	name string
	lmtp bool
}

// New takes over a connection, which may be a *tls.Conn whose handshake is done, and says helo on it. When ctx ends the
// connection is closed.
func New(ctx context.Context, conn net.Conn, helo string, t Timeouts) *Client {
	c := &Client{ctx: ctx, helo: helo, to: t.filled()}
	c.use(conn)
	return c
}

// NewLMTP is New for a server that speaks LMTP (RFC 2033): it gives each recipient a reply of its own after the data.
func NewLMTP(ctx context.Context, conn net.Conn, helo string, t Timeouts) *Client {
	c := New(ctx, conn, helo, t)
	c.lmtp = true
	return c
}

func (c *Client) use(conn net.Conn) {
	c.conn, c.br = conn, bufio.NewReaderSize(conn, replyLine)
	c.Bind(c.ctx)
	if t, ok := conn.(*tls.Conn); ok {
		s := t.ConnectionState()
		c.tls = &s
	}
}

// Bind makes the connection end with another context in place of the one before, so that one transaction after another
// can have its own.
func (c *Client) Bind(ctx context.Context) {
	if c.stop != nil {
		c.stop()
	}
	conn := c.conn
	c.ctx, c.stop = ctx, context.AfterFunc(ctx, func() { _ = conn.Close() })
}

// TLS returns the state of the connection's TLS, nil when it has none.
func (c *Client) TLS() *tls.ConnectionState { return c.tls }

// Extensions returns what the last reply to EHLO offered.
func (c *Client) Extensions() smtp.Extensions { return c.ext }

// Greeted returns the name that the server called itself by in its greeting, unproven; "" if it gave none.
func (c *Client) Greeted() string { return c.name }

// Hello reads the greeting and says EHLO, or HELO to a server that does not know EHLO (RFC 5321 3.2); or LHLO.
func (c *Client) Hello() error {
	r, err := c.read(c.to.Greeting)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if r.Code != 220 {
		return fmt.Errorf("greeting: %w", refusal(r))
	}
	c.name, _, _ = strings.Cut(r.Text, " ")
	return c.ehlo()
}

func (c *Client) ehlo() error {
	c.ext = nil
	verb := "EHLO"
	if c.lmtp {
		verb = "LHLO"
	}
	r, err := c.command(c.to.Command, verb+" "+c.helo)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if r.Code == 250 {
		c.ext = smtp.ParseExtensions(r)
		return nil
	}
	if !r.Permanent() || r.Code == 521 || c.lmtp { // 521: no mail here at all (RFC 7504)
		return fmt.Errorf("%s: %w", verb, refusal(r))
	}
	if r, err = c.command(c.to.Command, "HELO "+c.helo); err != nil {
		return fmt.Errorf("HELO: %w", err)
	}
	if r.Code != 250 {
		return fmt.Errorf("HELO: %w", refusal(r))
	}
	return nil
}

// StartTLS asks for TLS, shakes hands and says EHLO again: nothing that the server said before counts (RFC 3207 4.2). A
// refusal of the command leaves the connection as it was; an error that is ErrTLS or ErrInjected ends it.
func (c *Client) StartTLS(cfg *tls.Config) error {
	r, err := c.command(c.to.Command, "STARTTLS")
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if r.Code != 220 {
		return fmt.Errorf("STARTTLS: %w", refusal(r))
	}
	if c.br.Buffered() > 0 {
		return ErrInjected
	}
	conn, err := Handshake(c.ctx, c.conn, cfg, c.to.Handshake)
	if err != nil {
		return err
	}
	c.use(conn)
	return c.ehlo()
}

// Handshake puts TLS on a connection; its error is ErrTLS.
func Handshake(ctx context.Context, conn net.Conn, cfg *tls.Config, timeout time.Duration) (*tls.Conn, error) {
	if timeout <= 0 {
		timeout = Timeouts{}.filled().Handshake
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return t, nil
}

// Auth logs in with PLAIN (RFC 4616), over TLS whose certificate was verified, and nothing less: ErrUnverified.
func (c *Client) Auth(user, password string) error {
	if c.tls == nil || len(c.tls.VerifiedChains) == 0 {
		return ErrUnverified
	}
	if !c.ext.Auth("PLAIN") {
		return ErrNoPlain
	}
	r, err := c.command(c.to.Command, "AUTH PLAIN "+plain(user, password))
	if err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	if r.Code != 235 {
		return fmt.Errorf("AUTH: %w", refusal(r))
	}
	return nil
}

// Quit says goodbye and closes the connection. Nothing depends on the answer.
func (c *Client) Quit() {
	_, _ = c.command(c.to.Quit, "QUIT")
	c.Close()
}

// Close closes the connection without a word.
func (c *Client) Close() {
	c.stop()
	_ = c.conn.Close()
}

// command writes one line and reads the reply to it.
func (c *Client) command(t time.Duration, line string) (mta.Reply, error) {
	if err := c.write(min(t, c.to.Block), line); err != nil {
		return mta.Reply{}, err
	}
	return c.read(t)
}

// write writes lines in one piece. A line end inside one would be a command of somebody else's making.
func (c *Client) write(t time.Duration, lines ...string) error {
	for _, l := range lines {
		if strings.ContainsAny(l, "\r\n\x00") {
			return errors.New("line end in a command")
		}
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(t)); err != nil {
		return c.cause(err)
	}
	_, err := c.conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
	return c.cause(err)
}

// read reads one reply; all of it must be there in time.
func (c *Client) read(t time.Duration) (mta.Reply, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(t)); err != nil {
		return mta.Reply{}, c.cause(err)
	}
	r, err := smtp.ReadReply(c.br, smtp.MaxReply)
	return r, c.cause(err)
}

// cause gives the context's reason in place of the error of a connection that its end has closed.
func (c *Client) cause(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

// refusal makes a reply an error. One that neither refuses nor is what was expected is no refusal: the server and we no
// longer mean the same thing.
func refusal(r mta.Reply) error {
	if r.Temporary() || r.Permanent() {
		return r
	}
	return fmt.Errorf("%w: unexpected %s", smtp.ErrBadReply, r)
}
