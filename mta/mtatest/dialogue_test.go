package mtatest

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestADialogueSeesEachDifference(t *testing.T) {
	for name, c := range map[string]struct {
		says, script, want string
		fatal              bool
	}{
		"another line":                   {"250 no\r\n", "S: 250 ok", `line 1: got "250 no\r\n", want "250 ok"`, false},
		"a match in the middle":          {"x250 okx\r\n", "S: 250 ok", `line 1: got`, false},
		"one of two in the middle":       {"250 okx\r\n", "S: 221|250 ok", `line 1: got`, false},
		"LF alone":                       {"250 ok\n", "S: 250 ok", `line 1: got "250 ok\n"`, false},
		"no end of a line":               {"250 ok", "S: 250 ok", `line 1: got "250 ok"`, false},
		"the end in place of a line":     {"", "# a comment\n\nS: 250 ok", `line 3: got EOF`, false},
		"a line in place of the end":     {"250 ok\r\n", "EOF", `line 1: got "250 ok\r\n", <nil>; want the end`, false},
		"half a line in place of it":     {"250", "EOF", `line 1: got "250", EOF; want the end`, false},
		"another last line":              {"250-a\r\n250-b\r\n550 c\r\n", "L: 250 c", `line 1: got "550 c\r\n"`, false},
		"no last line":                   {"250-a\r\n250-b\r\n", "L: 250 c", `line 1: got EOF`, false},
		"the first line of several":      {"250-a\r\n250 b\r\n", "S: 250 b", `line 1: got "250-a\r\n"`, false},
		"no TLS":                         {"not TLS at all\r\n", "TLS", "line 1: TLS handshake: ", false},
		"a line that none can be":        {"", "X: a", `line 1: not a line of a dialogue: "X: a"`, true},
		"octets without quotation marks": {"", "R: a", "line 1: invalid syntax", true},
		"no regular expression":          {"250 ok\r\n", "S: (", "line 1: error parsing regexp", true},
		"SCRAM without a password":       {"", "SCRAM: SCRAM-SHA-256 bob", "line 1: SCRAM takes", true},
		"only the first is told":         {"1\r\n2\r\n", "S: x\nS: y", "line 1: got", false},
		"what it should be":              {"220 a\r\n250-b\r\n250-c\r\n250 d\r\n221 e\r\n", "# hello\nS: 220 .*\n\nC: EHLO x\nL: 250 [a-d]\nC: QUIT\nS: 221 e\nEOF", "", false},
	} {
		judge(t, func(t testing.TB) { Dialogue(t, &peer{in: strings.NewReader(c.says)}, c.script, nil) }).want(t, name, c.want, c.fatal)
	}
}

// peer is a connection to a server that says the same whatever it hears.
type peer struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (p *peer) Read(b []byte) (int, error)     { return p.in.Read(b) }
func (p *peer) Write(b []byte) (int, error)    { return p.out.Write(b) }
func (*peer) SetDeadline(time.Time) error      { return nil }
func (*peer) SetWriteDeadline(time.Time) error { return nil }
func (*peer) Close() error                     { return nil }

func TestADialogueSendsWhatItSays(t *testing.T) {
	for script, want := range map[string]string{
		"C: EHLO x\nC: \nR: \"a\\n\\x00\"\nC:  b": "EHLO x\r\n\r\na\n\x00 b\r\n", // what comes last, without a reply, too
		"C: a\nS: ok\nC: b":                       "a\r\nb\r\n",
		"# nothing":                               "",
	} {
		p := &peer{in: strings.NewReader("ok\r\n")}
		Dialogue(t, p, script, nil)
		if got := p.out.String(); got != want {
			t.Errorf("%q: it sends %q, want %q", script, got, want)
		}
	}
}

// The Sink is held to SMTP by dialogues, and so are dialogues by it.
func TestASinkSpeaksSMTP(t *testing.T) {
	s := (&Sink{Extensions: []string{"PIPELINING", "8BITMIME"}, On: func(command string) string {
		switch command {
		case "GREETING":
			return "220-one\r\n220 two"
		case "RCPT TO:<b@x.test>":
			return "550 5.1.1 no"
		case "NOOP":
			return Drop
		}
		return ""
	}}).Start(t, "")
	talk := func(s *Sink, script string) {
		t.Helper()
		nc, err := net.Dial(s.listener.Addr().Network(), s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		Dialogue(t, nc, script, nil)
	}
	talk(s, "L: 220 two\nC: EHLO c.test\nS: 250-sink.test\nS: 250-PIPELINING\nS: 250 8BITMIME\nC: LHLO c.test\nS: 500 .*\nC: RCPT TO:<d@x.test>\nS: 503 .*\nC: DATA\nS: 503 .*\n"+
		"C: MAIL FROM:<a@x.test>\nS: 250 .*\nC: RCPT TO:<b@x.test>\nS: 550 .*\nC: RCPT TO:<c@x.test>\nS: 250 .*\nC: DATA\nS: 354 .*\nC: ..x\nC: y\nC: .\nS: 250 .*\nC: NOOP\nEOF")
	talk(s, "L: 220 two\nC: QUIT\nS: 221 .*\nEOF")
	if got := s.Messages(); len(got) != 1 || got[0].Mail != "FROM:<a@x.test>" || len(got[0].Rcpts) != 1 || got[0].Rcpts[0] != "TO:<c@x.test>" || got[0].Data != ".x\r\ny\r\n" || got[0].TLS {
		t.Errorf("got %+v", got)
	}
	if got := s.Commands(); s.Conns() != 2 || len(got) != 10 || got[0] != "EHLO c.test" || got[9] != "QUIT" {
		t.Errorf("got %d connections with the commands %q", s.Conns(), got)
	}

	l := (&Sink{LMTP: true, On: func(command string) string {
		if command == "END <b@x.test>" {
			return "452 4.2.2 full"
		}
		return ""
	}}).Start(t, t.TempDir()+"/s")
	talk(l, "S: 220 .*\nC: EHLO c.test\nS: 500 .*\nC: LHLO c.test\nS: 250 sink.test\n"+
		"C: MAIL FROM:<>\nS: 250 .*\nC: RCPT TO:<b@x.test>\nS: 250 .*\nC: RCPT TO:<c@x.test>\nS: 250 .*\nC: DATA\nS: 354 .*\nC: .\nS: 452 .*\nS: 250 .*\nC: QUIT\nS: 221 .*\nEOF")
	if got := l.Messages(); len(got) != 1 || len(got[0].Rcpts) != 1 || got[0].Rcpts[0] != "TO:<c@x.test>" {
		t.Errorf("by LMTP: got %+v", got)
	}
}
