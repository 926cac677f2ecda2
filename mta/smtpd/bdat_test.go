package smtpd_test

import (
	"testing"
	"testing/synctest"
)

func TestChunkThatStallsIsNeverCommands(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, _ func() error) {
		c := newClient(t, ln)
		c.toChunks()
		c.send("BDAT 4\r\nabc\n")
		c.expect("550 5.6.0 ") // the bare LF
		c.send("RSET\r\n")
		c.expect("250 ")
		c.toTransaction()
		c.send("BDAT 10 LAST\r\nabc\r\n")
		c.expect("421 4.4.2 ")
		c.expectEnd()
		if len(q.all()) != 0 {
			t.Error("half a message was taken")
		}
	})
}

func TestStopBetweenChunksTakesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, stop func() error) {
		c := newClient(t, ln)
		c.toChunks()
		c.send("BDAT 5\r\nabc\r\n")
		c.expect("250 ")
		go func() { _ = stop() }()
		c.expect("421 4.3.2 ")
		c.expectEnd()
		if len(q.all()) != 0 {
			t.Error("half a message was taken")
		}
	})
}

func TestStopWithinTheLastChunkLetsItEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ln *pipes, q *queue, stop func() error) {
		c := newClient(t, ln)
		c.toChunks()
		c.send("BDAT 5 LAST\r\nab")
		synctest.Wait()
		go func() { _ = stop() }()
		synctest.Wait()
		c.send("c\r\n")
		c.expect("250 2.0.0 Queued")
		c.expect("421 4.3.2 ")
		c.expectEnd()
		if n := len(q.all()); n != 1 {
			t.Errorf("got %d messages, want 1", n)
		}
	})
}

// toChunks brings the session to where BDAT may come.
func (c *client) toChunks() {
	c.t.Helper()
	c.send("EHLO c\r\n")
	c.expectLast("250 ")
	c.toTransaction()
}

func (c *client) toTransaction() {
	c.t.Helper()
	for _, s := range []string{"MAIL FROM:<a@away.test>", "RCPT TO:<alice@here.test>"} {
		c.send(s + "\r\n")
		c.expect("250 ")
	}
}
