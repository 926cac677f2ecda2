package redis

import (
	"bytes"
	"errors"
	"net"
	"strconv"
)

// Bounds of what a server may answer to a question. What we ask is answered by a few numbers and short texts; the library
// takes a server's word for any length, makes room for it before it comes, and panics where there is none.
const (
	maxReply    = 64 << 10 // octets
	maxElements = 4096     // of its arrays, those in others too
	maxLine     = 16       // octets of a line that are kept: no length has as many
)

// errReply ends the connection.
var errReply = errors.New("the server answers more than anything that is asked for can be: is it Redis?")

// boundConn reads along (RESP 2: https://redis.io/docs/latest/develop/reference/protocol-spec/) and passes on no length that is
// beyond what the answer to one question may have. It has one reader, and nobody writes meanwhile.
type boundConn struct {
	net.Conn
	octets, elements int    // still allowed
	skip             int    // octets of a string, and of the line end behind it, that are still to come
	line             []byte // what has come of a line, up to maxLine
	err              error
}

// Write begins a question.
func (c *boundConn) Write(p []byte) (int, error) {
	c.octets, c.elements = maxReply, maxElements
	return c.Conn.Write(p)
}

func (c *boundConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.err = c.look(p[:n]); c.err != nil {
		return 0, c.err
	}
	return n, err
}

func (c *boundConn) look(p []byte) error {
	if c.octets -= len(p); c.octets < 0 {
		return errReply
	}
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			c.skip, p = c.skip-n, p[n:]
			continue
		}
		part, rest, ends := bytes.Cut(p, []byte{'\n'})
		c.line, p = append(c.line, part[:min(len(part), maxLine-len(c.line))]...), rest
		if !ends {
			break
		}
		if err := c.header(bytes.TrimSuffix(c.line, []byte{'\r'})); err != nil {
			return err
		}
		c.line = c.line[:0]
	}
	return nil
}

// header reads the length that a string or an array begins with. What is no length at all, the library refuses.
func (c *boundConn) header(line []byte) error {
	if len(line) < 2 || line[0] != '$' && line[0] != '*' || line[1] == '-' {
		return nil
	}
	n, err := strconv.ParseUint(string(line[1:]), 10, 31)
	switch {
	case err != nil || len(c.line) == maxLine: // zeros may stand in front of any number
		return errReply
	case line[0] == '*':
		c.elements -= int(n)
	case n > maxReply:
		return errReply
	default:
		c.skip = int(n) + len("\r\n")
	}
	if c.elements < 0 {
		return errReply
	}
	return nil
}
