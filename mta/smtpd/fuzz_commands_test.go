package smtpd_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// Bounds that a fuzzed session can reach.
const (
	fuzzSize  = 60
	fuzzLine  = 20
	fuzzRcpts = 3
)

// FuzzCommands plays any order of commands, well formed and not, in any grouping and cut anywhere, and foretells each reply
// from a model of the session: a reply out of step, a panic, and a message that was not sent so show at once.
func FuzzCommands(f *testing.F) {
	f.Add([]byte("\x00\x02\x04\x08hello\x0e"), uint8(0), uint8(0))
	f.Add([]byte("\x00\x02\x04\x0a\x05he\r\nl\x0b\x03o\r\n\x00\x02\x04\x08.\r\n.\x0e"), uint8(1), uint8(3))
	f.Add([]byte("\x00\x02\x05\x0a\x02ab\x04\x0b\x01c\x02\x04\x0a\x03a\nb\x0b\x00\x0c"), uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, script []byte, role, piece uint8) {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		o.Log = maillog.New(nil)
		o.Senders = nil
		o.MaxErrors, o.MaxLine = 1<<30, fuzzLine
		l := smtpd.Listener{Role: mta.RoleMX, MaxMessageSize: fuzzSize, TLS: smtpd.NoTLS}
		m := &sessionModel{}
		switch role % 3 {
		case 1:
			l.Role, m.relay = mta.RoleSubmission, true
			o.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		case 2:
			l.Role, m.relay, m.repair = mta.RoleLocal, true, true
			o.Peer = func(net.Conn) (smtpd.Peer, error) { return smtpd.Peer{UID: 1, Login: "daemon"}, nil }
		}
		ln := &pipes{conns: make(chan net.Conn)}
		l.Listener = ln
		stop, _ := start(t, o, l, log)
		nc := ln.dial()
		_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
		c := &fuzzClient{t: t, nc: nc, br: bufio.NewReader(nc), piece: int(piece)%7 + 1, want: []string{"220"}}
		c.flush()
		for len(script) > 0 && len(c.said) < 1<<14 {
			script = m.step(c, script)
		}
		c.send("QUIT\r\n", "221")
		c.flush()
		_ = nc.Close()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if q.open != 0 {
			t.Fatalf("%d messages neither kept nor dropped", q.open)
		}
		if len(q.messages) != len(m.taken) {
			t.Fatalf("%d messages were taken, want %d; said %q", len(q.messages), len(m.taken), c.said)
		}
		for i, got := range q.messages {
			if want := m.taken[i]; got.content != want.content || len(got.envelope.Rcpts) != want.rcpts {
				t.Fatalf("%q was taken for %d, want %q for %d; said %q", got.content, len(got.envelope.Rcpts), want.content, want.rcpts, c.said)
			}
		}
	})
}

// fuzzClient sends groups of commands and holds the replies against what the model foretells.
type fuzzClient struct {
	t     *testing.T
	nc    net.Conn
	br    *bufio.Reader
	piece int
	out   []byte
	want  []string
	said  []byte
}

func (c *fuzzClient) send(s string, want ...string) {
	c.out = append(c.out, s...)
	c.want = append(c.want, want...)
}

// flush sends the group in pieces and reads a reply for each of its commands.
func (c *fuzzClient) flush() {
	c.t.Helper()
	c.said = append(c.said, c.out...)
	go func(b []byte) {
		for n := 0; len(b) > 0; b = b[n:] {
			n = min(c.piece, len(b))
			if _, err := c.nc.Write(b[:n]); err != nil {
				return // the replies will tell
			}
		}
	}(bytes.Clone(c.out))
	for _, want := range c.want {
		for more := true; more; {
			line, err := c.br.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, want) || len(line) < 6 {
				c.t.Fatalf("got %q, %v; want %s; said %q, in this group %q", line, err, want, c.said, c.want)
			}
			more = line[3] == '-'
		}
	}
	c.out, c.want = c.out[:0], c.want[:0]
}

// sessionModel foretells replies.
type sessionModel struct {
	relay, repair bool

	greeted, esmtp, open bool
	rcpts                map[string]bool
	chunks               *contentModel // nil before the first BDAT
	taken                []modelMessage
}

type modelMessage struct {
	content string
	rcpts   int
}

func (m *sessionModel) reset() { m.open, m.rcpts, m.chunks = false, nil, nil }

// step plays what the script's next octet asks for, and returns the rest.
func (m *sessionModel) step(c *fuzzClient, script []byte) []byte {
	op := script[0]
	script = script[1:]
	switch op % 16 {
	case 0, 1:
		m.greeted, m.esmtp = true, op%16 == 0
		m.reset()
		c.send(map[bool]string{true: "EHLO c\r\n", false: "helo c\r\n"}[m.esmtp], "250")
		c.flush() // who goes on at once is cut off
	case 2, 3:
		m.mail(c, op%16 == 3)
	case 4, 5, 6, 7:
		m.rcpt(c, [4]string{"alice@here.test", "nobody@here.test", "x@elsewhere.test", "bob@here.test"}[op%4])
	case 8, 9:
		return m.data(c, script)
	case 10, 11:
		return m.bdat(c, script, op%16 == 11)
	case 12:
		m.reset()
		c.send("RSET\r\n", "250")
	case 13:
		c.send("XYZZY\r\nNOOP\r\nVRFY x\r\n", "500", "250", "252")
	case 14:
		c.flush()
	case 15:
		c.send("RCPT TO:alice\r\nMAIL FROM:<a@b.test> X\r\nDATA now\r\n", m.badRcpt(), m.badMail(), m.badData())
		c.flush()
	}
	return script
}

func (m *sessionModel) mail(c *fuzzClient, params bool) {
	line, want := "MAIL FROM:<a@away.test>", "250"
	if params {
		line += " BODY=8BITMIME RET=HDRS"
	}
	switch {
	case !m.greeted || m.open:
		want = "503"
	case params && !m.esmtp:
		want = "555"
	default:
		m.open, m.rcpts = true, map[string]bool{}
	}
	c.send(line+"\r\n", want)
}

func (m *sessionModel) rcpt(c *fuzzClient, to string) {
	want := "250"
	switch {
	case !m.open || m.chunks != nil:
		want = "503"
	case m.rcpts[to]:
	case len(m.rcpts) >= fuzzRcpts: // before anybody looks whether the address is good
		want = "452"
	case to == "nobody@here.test", to == "x@elsewhere.test" && !m.relay:
		want = "550"
	default:
		m.rcpts[to] = true
	}
	c.send("RCPT TO:<"+to+">\r\n", want)
}

func (m *sessionModel) badRcpt() string {
	if !m.open || m.chunks != nil {
		return "503"
	}
	return "501"
}

func (m *sessionModel) badMail() string {
	if !m.greeted || m.open {
		return "503"
	}
	return "555"
}

func (m *sessionModel) badData() string {
	if r := m.mayData(); r != "" {
		return r
	}
	return "501"
}

func (m *sessionModel) mayData() string {
	switch {
	case !m.open:
		return "503"
	case len(m.rcpts) == 0:
		return "554"
	}
	return ""
}

// data takes up to 100 octets of the script for the content.
func (m *sessionModel) data(c *fuzzClient, script []byte) []byte {
	want := m.mayData()
	if want == "" && m.chunks != nil {
		want = "503"
	}
	if want != "" {
		c.send("DATA\r\n", want)
		c.flush()
		return script
	}
	c.send("DATA\r\n", "354")
	c.flush()
	text, rest := cutContent(script)
	if text != "" && !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	x := contentModel{repair: m.repair}
	x.feed(text)
	c.send(strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]+".\r\n", m.end(&x))
	return rest
}

// bdat takes up to 100 octets of the script for the chunk.
func (m *sessionModel) bdat(c *fuzzClient, script []byte, last bool) []byte {
	text, rest := cutContent(script)
	line := fmt.Sprintf("BDAT %d", len(text))
	if last {
		line += " LAST"
	}
	c.send(line+"\r\n"+text, m.chunk(text, last))
	if last {
		m.reset()
	}
	return rest
}

func (m *sessionModel) chunk(text string, last bool) string {
	if m.chunks == nil {
		r := m.mayData()
		if r == "" && !m.esmtp {
			r = "503"
		}
		if r != "" {
			if m.open {
				m.chunks = &contentModel{failed: true}
			}
			return r
		}
		m.chunks = &contentModel{repair: m.repair}
	}
	x := m.chunks
	if x.failed {
		return "503"
	}
	x.feed(text)
	if last {
		x.endLine()
		return m.end(x)
	}
	if r := x.verdict(); r != "" {
		x.failed = true
		return r
	}
	return "250"
}

// end gives the reply to a whole content.
func (m *sessionModel) end(x *contentModel) string {
	r := x.verdict()
	if r == "" {
		r = "250"
		m.taken = append(m.taken, modelMessage{string(x.out), len(m.rcpts)})
	}
	m.reset()
	return r
}

// cutContent takes a length and as many octets off the script, half of them as they are.
func cutContent(script []byte) (string, []byte) {
	if len(script) == 0 {
		return "", nil
	}
	n := min(int(script[0])%100, len(script)-1)
	return string(script[1 : 1+n]), script[1+n:]
}

// contentModel holds a content against the rules, octet by octet.
type contentModel struct {
	repair, failed bool

	out   []byte
	line  int
	cr    bool
	fault bool
}

func (x *contentModel) feed(s string) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case x.cr && c == '\n':
			x.cr = false
			x.put("\r\n")
			x.line = 0
			continue
		case x.cr:
			x.bareCR()
			fallthrough
		default:
			x.octet(c)
		}
	}
}

func (x *contentModel) octet(c byte) {
	switch {
	case c == '\r':
		x.cr = true
	case c == '\n' && x.repair:
		x.put("\r\n")
		x.line = 0
	default:
		x.fault = x.fault || c == '\n' || c == 0
		x.put(string([]byte{c}))
	}
}

func (x *contentModel) bareCR() {
	x.cr = false
	if x.repair {
		x.put("\r\n")
		x.line = 0
		return
	}
	x.fault = true
	x.put("\r")
}

func (x *contentModel) put(s string) {
	x.out = append(x.out, s...)
	x.line += len(s)
	x.fault = x.fault || x.line > fuzzLine
}

// endLine ends the last line of a content that came by BDAT.
func (x *contentModel) endLine() {
	if x.cr {
		x.bareCR()
	}
	if x.line > 0 {
		x.put("\r\n")
	}
}

func (x *contentModel) verdict() string {
	switch {
	case len(x.out) > fuzzSize:
		return "552"
	case x.fault, len(x.out) > 0 && (x.out[0] == ' ' || x.out[0] == '\t'):
		return "550"
	}
	return ""
}
