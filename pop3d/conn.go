package pop3d

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const writeBuffer = 8 << 10

// conn is a connection whose every read and write has a deadline. Reads get theirs once a line, writes once a block.
type conn struct {
	net.Conn // the raw connection, or TLS over it
	r        *bufio.Reader
	w        *bufio.Writer
	opt      *Options
	tls      *tls.ConnectionState // nil without TLS
	sent     int64                // octets, before TLS

	mu       sync.Mutex // guards raw's deadlines and the fields below
	raw      net.Conn
	end      time.Time // of what may go on while the server stops
	draining bool
}

func newConn(raw net.Conn, opt *Options) *conn {
	c := &conn{raw: raw, opt: opt}
	c.use(raw)
	return c
}

// use makes nc the connection below the buffers; what they held is dropped.
func (c *conn) use(nc net.Conn) {
	c.Conn = nc
	c.r = bufio.NewReaderSize(nc, lineBuffer)
	c.w = bufio.NewWriterSize(writer{c}, writeBuffer)
}

// startTLS does the server's side of a handshake before deadline. Octets that came before it are dropped: whoever put
// them into the plaintext must not have them taken for commands under TLS.
func (c *conn) startTLS(ctx context.Context, deadline time.Time) error {
	t := tls.Server(c.raw, c.opt.TLS)
	c.mu.Lock()
	if !c.draining {
		_ = c.raw.SetDeadline(deadline)
	}
	c.mu.Unlock()
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	state := t.ConnectionState()
	c.tls = &state
	c.use(t)
	return nil
}

// readBefore sets the moment until which reads may wait.
func (c *conn) readBefore(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		_ = c.raw.SetReadDeadline(deadline)
	}
}

// drain ends the wait for a command, and bounds all that is still to be written.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.draining, c.end = true, now.Add(c.opt.DrainTimeout)
	_ = c.raw.SetReadDeadline(now)
	_ = c.raw.SetWriteDeadline(c.end)
}

// writer is the conn below its buffer: it gives each block its deadline.
type writer struct{ c *conn }

func (w writer) Write(p []byte) (int, error) {
	c := w.c
	c.mu.Lock()
	end := time.Now().Add(c.opt.IdleTimeout)
	if c.draining && c.end.Before(end) {
		end = c.end
	}
	_ = c.raw.SetWriteDeadline(end)
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	c.sent += int64(n)
	return n, err
}
