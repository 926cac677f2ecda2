package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dot"
)

// maxMultiline bounds an answer of many lines: the demo's messages are far smaller.
const maxMultiline = 1 << 20

// pop3Client is the least that fetches one message (RFC 1939, STLS of RFC 2595).
type pop3Client struct {
	conn net.Conn
	br   *bufio.Reader
	stop func() bool
}

// dialPOP3 connects and reads the greeting. The connection ends with ctx.
func dialPOP3(ctx context.Context, address string) (*pop3Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &pop3Client{stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	c.use(conn)
	if _, err := c.answer("greeting"); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *pop3Client) use(conn net.Conn) { c.conn, c.br = conn, bufio.NewReader(conn) }

func (c *pop3Client) close() {
	c.stop()
	_ = c.conn.Close()
}

// command sends a line and reads the answer to it; what names it in an error, and leaves its argument out.
func (c *pop3Client) command(what, line string) (string, error) {
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return c.answer(what)
}

func (c *pop3Client) answer(what string) (string, error) {
	line, err := c.br.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	text, ok := strings.CutPrefix(strings.TrimRight(string(line), "\r\n"), "+OK")
	if !ok {
		return "", fmt.Errorf("%s: the server says %q", what, text)
	}
	return strings.TrimSpace(text), nil
}

// many reads the lines that follow an answer.
func (c *pop3Client) many(what string) ([]byte, error) {
	r := dot.NewReader(c.br, dot.ReaderOptions{})
	b, err := io.ReadAll(io.LimitReader(r, maxMultiline+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(b) > maxMultiline:
		return nil, fmt.Errorf("%s: more than %d octets", what, maxMultiline)
	case r.Faults() != 0:
		return nil, fmt.Errorf("%s: the answer has %s", what, r.Faults())
	}
	return b, nil
}

func (c *pop3Client) startTLS(ctx context.Context, conf *tls.Config) error {
	if _, err := c.command("STLS", "STLS"); err != nil {
		return err
	}
	if c.br.Buffered() > 0 {
		return errors.New("STLS: plain text after the answer")
	}
	conn := tls.Client(c.conn, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("STLS: %w", err)
	}
	c.use(conn)
	return nil
}

func (c *pop3Client) login(user, password string) error {
	if _, err := c.command("USER", "USER "+user); err != nil {
		return err
	}
	_, err := c.command("PASS", "PASS "+password)
	return err
}

// find returns the number of the message whose unique id begins with id.
func (c *pop3Client) find(id string) (string, error) {
	if _, err := c.command("UIDL", "UIDL"); err != nil {
		return "", err
	}
	list, err := c.many("UIDL")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(list)) {
		number, unique, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(unique, id) {
			return number, nil
		}
	}
	return "", fmt.Errorf("UIDL: no message %s in the mailbox: %q", id, list)
}

func (c *pop3Client) retrieve(number string) ([]byte, error) {
	if _, err := c.command("RETR", "RETR "+number); err != nil {
		return nil, err
	}
	return c.many("RETR")
}

func (c *pop3Client) quit() error {
	_, err := c.command("QUIT", "QUIT")
	return err
}
