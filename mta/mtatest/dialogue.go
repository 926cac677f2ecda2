package mtatest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dialogueTime bounds a whole dialogue: nothing in it waits for a clock.
const dialogueTime = 2 * time.Minute

// Dialogue holds the conversation of a script with a server at the other end of nc, and closes nc. Each line is one of
//
//	C: text      the client sends text and CR LF; lines in a row are sent in one write
//	R: "octets"  the client sends a Go string as it is
//	S: regexp    the server's next line must match, from its beginning to its end, without CR LF
//	L: regexp    the last line of the server's next reply must match; those before it, with a hyphen, may be any
//	TLS          the client's half of a TLS handshake
//	SCRAM: MECHANISM login password [change]  AUTH by SCRAM, up to what the server says at the end: see scram.go
//	EOF          the server must close the connection
//	# comment    and empty lines
//
// The client's configuration for TLS may be nil where the script has none. A difference fails the test and names the
// script's line.
func Dialogue(t testing.TB, nc net.Conn, script string, client *tls.Config) {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(dialogueTime)); err != nil {
		t.Fatal(err)
	}
	d := dialogue{t: t, nc: nc, br: bufio.NewReader(nc), client: client}
	defer func() { _ = d.nc.Close() }()
	for i, line := range strings.Split(script, "\n") {
		d.line = i + 1
		if line == "" || line[0] == '#' {
			continue
		}
		if !d.step(line) {
			return
		}
	}
	d.send()
}

type dialogue struct {
	t      testing.TB
	nc     net.Conn
	br     *bufio.Reader
	client *tls.Config
	out    []byte
	line   int
}

// step does one line of the script; false ends the dialogue.
func (d *dialogue) step(line string) bool {
	d.t.Helper()
	kind, text, _ := strings.Cut(line, ":")
	text = strings.TrimPrefix(text, " ")
	switch kind {
	case "C":
		d.out = append(d.out, text+"\r\n"...)
		return true
	case "R":
		raw, err := strconv.Unquote(text)
		if err != nil {
			d.t.Fatalf("line %d: %v", d.line, err)
		}
		d.out = append(d.out, raw...)
		return true
	}
	if !d.send() {
		return false
	}
	switch kind {
	case "S":
		return d.expect(text)
	case "L":
		return d.expectLast(text)
	case "SCRAM":
		return d.scram(strings.Fields(text))
	case "TLS":
		over := tls.Client(d.nc, d.client)
		if err := over.Handshake(); err != nil {
			d.t.Errorf("line %d: TLS handshake: %v", d.line, err)
			return false
		}
		d.nc = over
		d.br.Reset(over)
		return true
	case "EOF":
		if b, err := d.br.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || b != "" {
			d.t.Errorf("line %d: got %q, %v; want the end of the connection", d.line, b, err)
		}
		return false
	}
	d.t.Fatalf("line %d: not a line of a dialogue: %q", d.line, line)
	return false
}

func (d *dialogue) send() bool {
	d.t.Helper()
	if len(d.out) == 0 {
		return true
	}
	_, err := d.nc.Write(d.out)
	d.out = nil
	if err != nil {
		d.t.Errorf("before line %d: sending: %v", d.line, err)
	}
	return err == nil
}

// expectLast passes over the lines of a reply that others follow.
func (d *dialogue) expectLast(pattern string) bool {
	d.t.Helper()
	for {
		if b, err := d.br.Peek(4); err != nil || b[3] != '-' {
			return d.expect(pattern)
		}
		if _, err := d.br.ReadString('\n'); err != nil {
			return d.expect(pattern)
		}
	}
}

func (d *dialogue) expect(pattern string) bool {
	d.t.Helper()
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		d.t.Fatalf("line %d: %v", d.line, err)
	}
	got, err := d.br.ReadString('\n')
	if err != nil && (err != io.EOF || got == "") {
		d.t.Errorf("line %d: got %v, want %q", d.line, err, pattern)
		return false
	}
	if line, ok := strings.CutSuffix(got, "\r\n"); !ok || !re.MatchString(line) {
		d.t.Errorf("line %d: got %q, want %q", d.line, got, pattern)
		return false
	}
	return true
}
