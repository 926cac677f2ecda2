package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	// outBuffer is how much of answers is collected before it is written.
	outBuffer = 64 << 10
	// copyBuffer is how much of a message is read at once.
	copyBuffer = 16 << 10
	// lineRoom is enough for one line of an answer.
	lineRoom = 512
	// minRate is how fast a client takes an answer at the least, in octets a second over more than IdleTimeout.
	minRate = 512
)

// buffers are lent to connections that have something to say: one that waits for a command has none.
var (
	outBuffers  = sync.Pool{New: func() any { return new([outBuffer]byte) }}
	copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}
)

// conn is a connection whose every read and write has a deadline. Reads get theirs once a line, writes once a block.
type conn struct {
	net.Conn // the raw connection, or TLS over it
	r        *bufio.Reader
	out      []byte           // what is still to be written
	lent     *[outBuffer]byte // where it is; nil while there is nothing
	lower    *coalescer       // below TLS; nil without TLS
	opt      *Options
	tls      *tls.ConnectionState // nil without TLS
	sent     int64                // octets, before TLS
	begun    time.Time            // when the answers since the last wait began to be written
	taken    int64                // octets of them
	werr     error                // of a write; it stays

	mu       sync.Mutex // guards raw's deadlines and the fields below
	raw      net.Conn
	end      time.Time // of what may go on while the server stops
	draining bool
	over     bool // nothing is read any more
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
	c.out = c.out[:0]
}

// startTLS does the server's side of a handshake before deadline. Octets that came before it are dropped: whoever put
// them into the plaintext must not have them taken for commands under TLS.
func (c *conn) startTLS(ctx context.Context, deadline time.Time) error {
	c.lower = &coalescer{Conn: c.raw}
	t := tls.Server(c.lower, c.opt.TLS)
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

// hasLine says whether a whole command has come already.
func (c *conn) hasLine() bool {
	b, _ := c.r.Peek(c.r.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// readBefore sets the moment until which reads may wait. The answers to come are timed anew.
func (c *conn) readBefore(deadline time.Time) {
	c.begun, c.taken = time.Time{}, 0
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

// room returns the buffer of what is to be written, with at least need octets free. What is appended to it must be given
// back by way of c.out.
func (c *conn) room(need int) ([]byte, error) {
	if c.lent == nil {
		c.lent = outBuffers.Get().(*[outBuffer]byte)
		c.out = c.lent[:0]
	}
	if cap(c.out)-len(c.out) < need {
		if err := c.write(); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// flush writes what there is and gives the buffer back.
func (c *conn) flush() error {
	err := c.write()
	if c.lent != nil {
		outBuffers.Put(c.lent)
		c.lent, c.out = nil, nil
	}
	return err
}

// write writes what there is, in one write of the raw connection.
func (c *conn) write() error {
	if c.werr != nil || len(c.out) == 0 {
		return c.werr
	}
	c.limit()
	if c.lower != nil {
		c.lower.hold()
	}
	n, err := c.Conn.Write(c.out)
	if c.lower != nil {
		if rerr := c.lower.release(); err == nil {
			err = rerr
		}
	}
	c.sent += int64(n)
	c.taken += int64(n)
	c.out, c.werr = c.out[:0], err
	c.opt.Metrics.octets.Add(float64(n))
	return err
}

// limit gives a block its deadline.
func (c *conn) limit() {
	now := time.Now()
	if c.begun.IsZero() {
		c.begun = now
	}
	end := now.Add(c.opt.IdleTimeout)
	if slow := c.begun.Add(c.opt.IdleTimeout + time.Duration(c.taken)*time.Second/minRate); slow.Before(end) {
		end = slow
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && c.end.Before(end) {
		end = c.end
	}
	_ = c.raw.SetWriteDeadline(end)
}

// coalescer is the raw connection below TLS. TLS writes each record by itself; held, they go out together.
type coalescer struct {
	net.Conn
	held bool
	lent *[recordsBuffer]byte
	b    []byte
}

// recordsBuffer holds the records of one outBuffer: five, for the last one may be short, with what TLS adds to each.
const recordsBuffer = outBuffer + 5*64

var recordsBuffers = sync.Pool{New: func() any { return new([recordsBuffer]byte) }}

func (c *coalescer) Write(p []byte) (int, error) {
	if !c.held {
		return c.Conn.Write(p)
	}
	c.b = append(c.b, p...)
	return len(p), nil
}

func (c *coalescer) hold() {
	c.held, c.lent = true, recordsBuffers.Get().(*[recordsBuffer]byte)
	c.b = c.lent[:0]
}

func (c *coalescer) release() error {
	var err error
	if len(c.b) > 0 {
		_, err = c.Conn.Write(c.b)
	}
	recordsBuffers.Put(c.lent)
	c.held, c.lent, c.b = false, nil, nil
	return err
}
