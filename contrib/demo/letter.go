package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// letter is a message with what is easily changed on the way: dots at the start of lines, octets beyond ASCII, blanks at
// line ends, a long line, and empty lines at the end.
func letter(now time.Time) []byte {
	lines := []string{
		"From: Alice <" + alice + ">",
		"To: Bob <" + bob + ">",
		"Subject: From one end to the other",
		"Date: " + now.Format("Mon, 2 Jan 2006 15:04:05 -0700"),
		"Message-ID: <" + strings.ToLower(rand.Text()) + "@" + domain + ">",
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=utf-8",
		"Content-Transfer-Encoding: 8bit",
		"",
		"Dear Bob,",
		"",
		"this came over SMTP, waited in the spool, lay in your Maildir, and was fetched over POP3.",
		".",
		"..two dots, and a dot alone before: neither ended the message.",
		"From the start of a line: no > before it. Blanks at the end:   ",
		"Grüße, поклон, 挨拶 🐎",
		strings.Repeat("A line of 900 octets. ", 41)[:900],
		"\tAlice",
		"",
		"",
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n")
}

// traceFields are those that a delivery puts in front (RFC 5321 4.4); Delivered-To is by custom one of them.
var traceFields = []string{"return-path:", "delivered-to:", "received:"}

// cutTrace takes the trace fields from the front of a message, with their continuation lines.
func cutTrace(message []byte) (trace, rest []byte) {
	n := 0
	for in := false; ; {
		line, _, ended := bytes.Cut(message[n:], []byte("\r\n"))
		if continued := len(line) > 0 && (line[0] == ' ' || line[0] == '\t'); !continued {
			in = isTrace(line)
		}
		if !in || !ended {
			return message[:n], message[n:]
		}
		n += len(line) + 2
	}
}

func isTrace(line []byte) bool {
	for _, name := range traceFields {
		if len(line) >= len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			return true
		}
	}
	return false
}

// same says where two messages differ.
func same(sent, got []byte) error {
	if bytes.Equal(sent, got) {
		return nil
	}
	n := 0
	for n < len(sent) && n < len(got) && sent[n] == got[n] {
		n++
	}
	if n == len(sent) || n == len(got) {
		return fmt.Errorf("sent %d octets, got %d, the same up to the end of the shorter", len(sent), len(got))
	}
	return fmt.Errorf("octet %d of %d: sent %q, got %q", n, len(sent), around(sent, n), around(got, n))
}

func around(b []byte, n int) []byte { return b[max(0, n-10):min(len(b), n+20)] }
