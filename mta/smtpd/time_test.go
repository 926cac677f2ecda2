package smtpd_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// client is the far end of a connection in memory.
type client struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func newClient(t *testing.T, ln *pipes) *client {
	t.Helper()
	nc := ln.dial()
	c := &client{t, nc, bufio.NewReader(nc)}
	c.expect("220 ")
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatalf("sending %q: %v", s, err)
	}
}

func (c *client) expect(prefix string) {
	c.t.Helper()
	got, err := c.br.ReadString('\n')
	if err != nil || !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got %q, %v; want %q", got, err, prefix)
	}
}

// expectLast passes over the lines of a reply that others follow.
func (c *client) expectLast(prefix string) {
	c.t.Helper()
	for {
		if b, err := c.br.Peek(4); err != nil || b[3] != '-' {
			c.expect(prefix)
			return
		}
		_, _ = c.br.ReadString('\n')
	}
}

func (c *client) expectEnd() {
	c.t.Helper()
	if got, err := c.br.ReadString('\n'); err != io.EOF {
		c.t.Fatalf("got %q, %v; want the end", got, err)
	}
}

// toData brings the session to the content.
func (c *client) toData() {
	c.t.Helper()
	for _, s := range []string{"HELO c", "MAIL FROM:<a@away.test>", "RCPT TO:<alice@here.test>"} {
		c.send(s + "\r\n")
		c.expect("250 ")
	}
	c.send("DATA\r\n")
	c.expect("354 ")
}

// inBubble runs a test with a server under synctest's clock.
func inBubble(t *testing.T, change func(*smtpd.Options), test func(t *testing.T, ln *pipes, q *queue, stop func() error)) {
	t.Helper()
	inBubbleAs(t, smtpd.Listener{MaxMessageSize: 1 << 20}, change, test)
}

// inBubbleAs is inBubble with a listener's settings.
func inBubbleAs(t *testing.T, l smtpd.Listener, change func(*smtpd.Options), test func(t *testing.T, ln *pipes, q *queue, stop func() error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q, log := &queue{}, &lines{}
		ln := &pipes{conns: make(chan net.Conn)}
		o := options(q, log)
		if change != nil {
			change(&o)
		}
		l.Listener = ln
		stop, _ := start(t, o, l, log)
		test(t, ln, q, stop)
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if q.open != 0 {
			t.Errorf("%d messages neither kept nor dropped", q.open)
		}
	})
}

func TestIdleClientIsToldAndClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		c := newClient(t, ln)
		begin := time.Now()
		c.expect("421 4.4.2 ")
		c.expectEnd()
		if d := time.Since(begin); d != 5*time.Minute {
			t.Errorf("after %v, want 5m", d)
		}
	})
}

func TestClientThatDoesNotReadIsClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, _ *queue, stop func() error) {
		nc := ln.dial() // and the banner is never read
		time.Sleep(5*time.Minute + time.Second)
		if _, err := nc.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
		}
	})
}

func TestContentThatStallsIsNeverCommands(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, _ func() error) {
		c := newClient(t, ln)
		c.toData()
		c.send("x\r\n")
		c.expect("421 4.4.2 ")
		c.expectEnd()
		if len(q.all()) != 0 {
			t.Error("half a message was taken")
		}
	})
}

func TestSlowContentIsCutByMinRate(t *testing.T) {
	inBubble(t, func(o *smtpd.Options) { o.MinRate = 10 }, func(t *testing.T, ln *pipes, q *queue, _ func() error) {
		c := newClient(t, ln)
		c.toData()
		begin := time.Now()
		for range 70 { // 12 octets a second: good
			c.send("0123456789\r\n")
			time.Sleep(time.Second)
		}
		for i := 0; ; i++ { // 3 octets a second: too slow over a minute
			time.Sleep(time.Second)
			if _, err := io.WriteString(c.nc, "x\r\n"); err != nil {
				break
			}
			if i > 300 {
				t.Fatal("slow content goes on and on")
			}
			if time.Since(begin) >= 3*time.Minute {
				c.expect("421 4.4.2 ")
				return
			}
		}
	})
}

func TestSlowChunksAreCutByMinRate(t *testing.T) {
	inBubble(t, func(o *smtpd.Options) { o.MinRate = 10 }, func(t *testing.T, ln *pipes, q *queue, _ func() error) {
		c := newClient(t, ln)
		c.toChunks()
		for range 5 { // a good rate, though with pauses between chunks
			c.send("BDAT 1024\r\n" + strings.Repeat("0123456789abcd\r\n", 64))
			c.expect("250 2.0.0 ")
			time.Sleep(30 * time.Second)
		}
		begin := time.Now()
		for { // little chunks, each in the time that a session may be idle
			c.send("BDAT 2\r\n\r\n")
			if time.Since(begin) >= time.Minute {
				c.expect("421 4.4.2 ")
				return
			}
			c.expect("250 2.0.0 ")
			time.Sleep(time.Minute)
		}
	})
}

func TestSessionTimeEnds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		c := newClient(t, ln)
		for range 59 {
			time.Sleep(time.Minute)
			c.send("NOOP\r\n")
			c.expect("250 ")
		}
		c.expect("421 4.4.2 ")
		c.expectEnd()
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, stop func() error) {
		idle, busy, stuck := newClient(t, ln), newClient(t, ln), newClient(t, ln)
		busy.toData()
		stuck.toData()
		begin := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		idle.expect("421 4.3.2 ")
		idle.expectEnd()
		time.Sleep(30 * time.Second)
		busy.send("hello\r\n.\r\n")
		busy.expect("250 2.0.0 ")
		busy.expect("421 4.3.2 ")
		busy.expectEnd()
		stuck.expect("421 4.3.2 ")
		stuck.expectEnd()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != time.Minute || len(q.all()) != 1 {
			t.Errorf("stopped after %v with %d messages, want 1m and 1", d, len(q.all()))
		}
	})
}

// TestNothingIsCutBetweenDotAndReply: the commit takes longer than drain_timeout.
func TestNothingIsCutBetweenDotAndReply(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, stop func() error) {
		q.hold, q.reached = make(chan struct{}), make(chan struct{})
		c := newClient(t, ln)
		c.toData()
		c.send("hello\r\n.\r\n")
		<-q.reached
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		time.Sleep(2 * time.Minute)
		select {
		case <-stopped:
			t.Fatal("stopped before the reply")
		default:
		}
		close(q.hold)
		c.expect("250 2.0.0 ")
		c.expect("421 4.3.2 ")
		c.expectEnd()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// TestClientThatDoesNotReadDoesNotHoldUpTheEnd: not even where the reply to its message is what it does not read.
func TestClientThatDoesNotReadDoesNotHoldUpTheEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, stop func() error) {
		c := newClient(t, ln)
		c.toData()
		c.send("hello\r\n.\r\n")
		synctest.Wait() // the reply is being written
		begin := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 10*time.Second || len(q.all()) != 1 {
			t.Errorf("stopped after %v with %d messages, want 10s at most and 1", d, len(q.all()))
		}
	})
}

func TestTooManyConnections(t *testing.T) {
	inBubble(t, func(o *smtpd.Options) { o.Conns = &one{} }, func(t *testing.T, ln *pipes, _ *queue, _ func() error) {
		first := newClient(t, ln)
		nc := ln.dial()
		second := &client{t, nc, bufio.NewReader(nc)}
		second.expect("421 4.7.0 ")
		second.expectEnd()
		first.send("QUIT\r\n")
		first.expect("221 ")
		first.expectEnd()
		synctest.Wait()
		newClient(t, ln)
	})
}

// one admits one connection at a time.
type one struct{ busy bool }

func (o *one) Admit(netip.Addr) (func(), error) {
	if o.busy {
		return nil, errors.New("full")
	}
	o.busy = true
	return func() { o.busy = false }, nil
}

func TestListenerFailureEndsServe(t *testing.T) {
	log := &lines{}
	ln := &pipes{conns: make(chan net.Conn)}
	_ = ln.Close()
	err := smtpd.New(options(&queue{}, log)).Serve(t.Context(), smtpd.Listener{Listener: ln, Name: "test", Role: mta.RoleMX})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}
