package smtpd_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// FuzzSession sends any octets to a session, in pieces of a size. Nothing may be taken that the client did not send as a
// whole message, each reply is a reply, and the server is idle afterwards.
func FuzzSession(f *testing.F) {
	f.Add([]byte("EHLO c\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n"), uint8(0))
	f.Add([]byte("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\na\n.\r\nb\r\n..\r\n.\r\nSTARTTLS\r\n"), uint8(1))
	f.Add([]byte("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nBDAT 4\r\na\r\n.BDAT 3 LAST\r\n\r\n.QUIT\r\n"), uint8(5))
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		o.Log = maillog.New(nil)
		ln := &pipes{conns: make(chan net.Conn)}
		stop, _ := start(t, o, smtpd.Listener{Listener: ln, Role: mta.RoleMX}, log)
		nc := ln.dial()
		_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
		replies := make(chan []byte, 1)
		go func() { b, _ := io.ReadAll(nc); replies <- b }()
		for rest := in; len(rest) > 0; {
			n := len(rest)
			if piece > 0 {
				n = min(n, int(piece))
			}
			if _, err := nc.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		_ = nc.Close()
		said := <-replies
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if q.open != 0 {
			t.Fatalf("%d messages neither kept nor dropped", q.open)
		}
		for line := range strings.Lines(string(said)) {
			if strings.HasSuffix(line, "\r\n") && (len(line) < 6 || line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-') {
				t.Fatalf("not a reply: %q", line)
			}
		}
		checkTaken(t, in, q.all())
	})
}

// checkTaken holds each message against the octets that were sent: its dot-stuffed form stands there with the end of
// data behind it, one message after the other.
func checkTaken(t *testing.T, in []byte, messages []taken) {
	t.Helper()
	rest := in
	for _, m := range messages {
		stuffed := strings.ReplaceAll("\r\n"+m.content, "\r\n.", "\r\n..")
		end := []byte(stuffed + ".\r\n")
		i := bytes.Index(rest, end)
		if i < 0 && !mayUnstuff(rest) && !bytes.Contains(bytes.ToUpper(in), []byte("BDAT")) { // FuzzCommands knows of chunks
			t.Fatalf("%q was taken from %q", m.content, rest)
		}
		if strings.ContainsAny(strings.ReplaceAll(m.content, "\r\n", ""), "\r\n\x00") {
			t.Fatalf("a bare CR, LF or NUL was taken: %q", m.content)
		}
		if i >= 0 {
			rest = rest[i+len(end):]
		}
		if len(m.envelope.Rcpts) == 0 {
			t.Fatal("a message without recipients was taken")
		}
		for _, r := range m.envelope.Rcpts {
			if d, err := (router{}).Accept(t.Context(), r.Address); err != nil || d.Relay {
				t.Fatalf("taken for %v", r.Address)
			}
		}
	}
}

// mayUnstuff: a client that did not stuff its dots ("\r\n.x") sent what the comparison cannot find.
func mayUnstuff(in []byte) bool {
	for i := 0; i+3 < len(in); i++ {
		if in[i] == '\n' && in[i+1] == '.' && in[i+2] != '.' && in[i+2] != '\r' {
			return true
		}
	}
	return false
}
