package smtpd_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// nowhere takes messages and forgets them.
type nowhere struct{ id mta.ID }

func (q nowhere) Begin() (smtpd.Incoming, error) { return q, nil }
func (q nowhere) ID() mta.ID                     { return q.id }
func (q nowhere) Write(p []byte) (int, error)    { return len(p), nil }
func (q nowhere) Commit(e *mta.Envelope) error   { e.ID = q.id; return nil }
func (q nowhere) Abort()                         {}

// TestWhatACommandCosts bounds the allocations of commands, with those of the test's pipe, which are four a wait.
func TestWhatACommandCosts(t *testing.T) {
	log := &lines{}
	o := options(&queue{}, log)
	o.Log, o.Queue = maillog.New(nil), nowhere{"0123456789ABCDEF"}
	o.MaxErrors = 1 << 30
	ln := &pipes{conns: make(chan net.Conn)}
	serve(t, o, smtpd.Listener{Listener: ln}, log)
	nc := ln.dial()
	defer nc.Close()
	buf := make([]byte, 4096)
	_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
	say := func(s string, replies int) {
		if s != "" {
			if _, err := io.WriteString(nc, s); err != nil {
				t.Fatal(err)
			}
		}
		for replies > 0 {
			n, err := nc.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range buf[:n] {
				if c == '\n' {
					replies--
				}
			}
		}
	}
	say("", 1)
	say("HELO c\r\n", 1)
	for _, c := range []struct {
		what, say string
		replies   int
		most      float64
	}{
		{"NOOP", "NOOP\r\n", 1, 8},
		{"an unknown verb", "RSET\r\nXYZZY\r\nRSET\r\n", 3, 16}, // its line in the log too
		{"MAIL", "MAIL FROM:<a@away.test>\r\nRSET\r\n", 2, 14},
		{"MAIL and RCPT", "MAIL FROM:<a@away.test>\r\nRCPT TO:<alice@here.test>\r\nRSET\r\n", 3, 32},
	} {
		if got := testing.AllocsPerRun(200, func() { say(c.say, c.replies) }); got > c.most {
			t.Errorf("%s: got %.0f allocations, want %.0f at most", c.what, got, c.most)
		}
	}
}
