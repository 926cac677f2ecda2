package main

import (
	"bytes"
	"fmt"
	"net"
)

// client reads answers without looking at more of them than where they end: it must not be what is measured.
type client struct {
	net.Conn
	buf        []byte
	start, end int // what is in buf and not yet taken
}

// newClient logs in.
func newClient(nc net.Conn, user string) (*client, error) {
	c := &client{Conn: nc, buf: make([]byte, 256<<10)}
	if err := c.line(); err != nil {
		return nil, err
	}
	for _, cmd := range []string{"USER " + user + "@bench.test", "PASS " + password} {
		if err := c.ask(cmd, false); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *client) fill() error {
	if c.start == c.end {
		c.start, c.end = 0, 0
	} else if c.end == len(c.buf) {
		copy(c.buf, c.buf[c.start:c.end])
		c.start, c.end = 0, c.end-c.start
		if c.end == len(c.buf) {
			return fmt.Errorf("an answer's line of more than %d octets", len(c.buf))
		}
	}
	n, err := c.Conn.Read(c.buf[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	return err
}

// line takes one line, which must be +OK.
func (c *client) line() error {
	for {
		if i := bytes.IndexByte(c.buf[c.start:c.end], '\n'); i >= 0 {
			l := c.buf[c.start : c.start+i+1]
			c.start += i + 1
			if !bytes.HasPrefix(l, []byte("+OK")) {
				return fmt.Errorf("got %q, want +OK", l)
			}
			return nil
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

var terminator = []byte("\r\n.\r\n")

// text takes the lines behind +OK, up to the dot, and returns how many octets they are.
func (c *client) text() (int, error) {
	n := 0
	// The end of the line before is the first half of an end that comes at once.
	c.start -= 2
	for {
		if i := bytes.Index(c.buf[c.start:c.end], terminator); i >= 0 {
			c.start += i + len(terminator)
			return n + i, nil
		}
		if taken := c.end - c.start - len(terminator); taken > 0 {
			n += taken
			c.start += taken
		}
		if err := c.refill(); err != nil {
			return n, err
		}
	}
}

// refill is fill that keeps what is there.
func (c *client) refill() error {
	if c.start > 0 {
		copy(c.buf, c.buf[c.start:c.end])
		c.start, c.end = 0, c.end-c.start
	}
	n, err := c.Conn.Read(c.buf[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	return err
}

func (c *client) send(s string) error {
	_, err := c.Conn.Write([]byte(s))
	return err
}

// ask sends a command and takes its answer.
func (c *client) ask(command string, text bool) error {
	if err := c.send(command + "\r\n"); err != nil {
		return err
	}
	return c.answer(text)
}

func (c *client) answer(text bool) error {
	if err := c.line(); err != nil {
		return err
	}
	if text {
		_, err := c.text()
		return err
	}
	return nil
}

func (c *client) quit() error {
	defer c.Close()
	return c.ask("QUIT", false)
}
