package smtpd

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Reasons for which a session ends while it waits for its client.
var (
	errDraining = errors.New("shutting down")
	errIdle     = errors.New("timeout")
	errTooLong  = errors.New("session too long")
	errTooSlow  = errors.New("content too slow")
)

// rateWindow is the time over which Options.MinRate holds.
const rateWindow = time.Minute

type phase uint8

const (
	inCommand phase = iota // nothing is lost when the session ends here
	inContent              // a message is arriving
	inCommit               // it is complete, and its reply not yet sent
)

// conn is a connection each of whose reads and writes has a deadline. Before it waits for the client it sends what the
// session has to say: so replies to a group of commands go out together (RFC 2920 3.2).
type conn struct {
	net.Conn
	out  *bufio.Writer
	ctx  context.Context // ends with the session's time, or when it is cut
	stop context.CancelFunc
	idle time.Duration // changed under mu, by the session alone
	last time.Duration // for a write once the server is stopping
	end  time.Time

	rate  int64
	since time.Time // the start of the present rate window; the chunks of a message share it
	got   int64     // octets in it

	mu    sync.Mutex // guards what the server's goroutine touches too: below, and the deadlines
	phase phase
	drain bool
	cut   bool

	draining chan struct{} // closed by the first Drain
}

func newConn(c net.Conn, o *Options) *conn {
	k := &conn{Conn: c, idle: o.Idle, last: o.Shutdown, end: time.Now().Add(o.Session), rate: o.MinRate, draining: make(chan struct{})}
	if k.last == 0 {
		k.last = 5 * time.Second
	}
	k.ctx, k.stop = context.WithDeadline(context.Background(), k.end)
	k.out = bufio.NewWriterSize(writer{k}, 4<<10)
	return k
}

// Read waits for the client no longer than the session may. Its errors say why it gave up.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.out.Flush(); err != nil {
		return 0, err
	}
	c.told()
	patience := time.Now().Add(c.idle)
	for {
		if err := c.arm(patience); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		c.got += int64(n)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := c.overdue(patience); err != nil {
			return 0, err
		}
	}
}

// arm sets the deadline of the next read. It holds the mutex, so that a drain is either seen here or moves the deadline
// afterwards.
func (c *conn) arm(patience time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut || c.drain && c.phase == inCommand {
		return errDraining
	}
	d := patience
	if c.end.Before(d) {
		d = c.end
	}
	if c.phase == inContent && c.rate > 0 {
		if err := c.paced(time.Now()); err != nil {
			return err
		}
		if w := c.since.Add(rateWindow); w.Before(d) {
			d = w
		}
	}
	return c.SetReadDeadline(d)
}

// paced begins a new rate window where one is over; errTooSlow when too little came in it. The caller holds mu.
func (c *conn) paced(now time.Time) error {
	if c.rate <= 0 || now.Sub(c.since) < rateWindow {
		return nil
	}
	if c.got < c.rate*int64(rateWindow/time.Second) {
		return errTooSlow
	}
	c.since, c.got = now, 0
	return nil
}

// overdue says why a deadline has passed; nil when it was only the end of a rate window.
func (c *conn) overdue(patience time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.cut || c.drain && c.phase == inCommand:
		return errDraining
	case !now.Before(c.end):
		return errTooLong
	case !now.Before(patience):
		return errIdle
	}
	return nil
}

// enter moves to another phase.
func (c *conn) enter(p phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = p
	if p == inContent {
		c.since, c.got = time.Now(), 0
	}
}

// resume goes back to the content that came before: what the client let pass in between counts as content's time, or it
// could hold a session with a chunk of one octet now and then.
func (c *conn) resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = inContent
	return c.paced(time.Now()) // not only when something is read: a little chunk comes together with its command
}

// told leaves inCommit: the message's reply is on its way.
func (c *conn) told() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == inCommit {
		c.phase = inCommand
	}
}

// handshake gives a TLS handshake on raw its deadline; errDraining when there is to be none.
func (c *conn) handshake(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drain {
		return errDraining
	}
	return c.SetDeadline(time.Now().Add(d))
}

// Drain ends the session as soon as nothing is lost by it.
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.drain {
		close(c.draining)
	}
	c.drain = true
	_ = c.SetWriteDeadline(time.Now().Add(min(c.idle, c.last))) // of a write under way to a client that does not read
	if c.phase == inCommand {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // a connection that takes no deadline is gone
	}
}

// Cut ends the session now, unless a message is complete and waits for its reply.
func (c *conn) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drain, c.cut = true, true
	if c.phase != inCommit {
		c.stop()
		_ = c.SetDeadline(time.Unix(1, 0))
	}
}

// writer is the connection's other direction, under out.
type writer struct{ c *conn }

func (w writer) Write(p []byte) (int, error) {
	c := w.c
	c.mu.Lock()
	d := c.idle
	if c.drain {
		d = min(d, c.last)
	}
	err := c.SetWriteDeadline(time.Now().Add(d))
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errIdle
	}
	return n, err
}

// upgrade puts TLS over the connection.
func (c *conn) upgrade(over net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Conn = over
}
