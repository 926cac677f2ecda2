package smtp_test

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
)

func TestReadReply(t *testing.T) {
	bad := smtp.ErrBadReply
	for _, c := range []struct {
		name, wire string
		want       mta.Reply
		err        error
	}{
		{"nothing", "", mta.Reply{}, io.EOF},
		{"half a line", "250 o", mta.Reply{}, io.ErrUnexpectedEOF},
		{"half a reply", "250-one\r\n", mta.Reply{}, io.ErrUnexpectedEOF},
		{"endless line", "250 " + strings.Repeat("x", 9000), mta.Reply{}, bad},
		{"endless reply", strings.Repeat("250-x\r\n", 9000), mta.Reply{}, bad},
		{"another protocol", "SSH-2.0-x\r\n", mta.Reply{}, bad},
		{"empty line", "\r\n", mta.Reply{}, bad},
		{"two digits", "25 x\r\n", mta.Reply{}, bad},
		{"no separator", "250x\r\n", mta.Reply{}, bad},
		{"code out of range", "650 x\r\n", mta.Reply{}, bad},
		{"preliminary code", "150 x\r\n", mta.Reply{}, bad},
		{"codes that differ", "250-x\r\n550 y\r\n", mta.Reply{}, bad},
		{"control characters", "250 a\x1b[31mb\x00\r\n", mta.Reply{Code: 250, Text: "a?[31mb?"}, nil},
		{"CR inside", "250 a\rb\r\n", mta.Reply{Code: 250, Text: "a?b"}, nil},
		{"broken UTF-8", "250 \xff\r\n", mta.Reply{Code: 250, Text: "?"}, nil},
		{"enhanced of another class", "250 5.1.1 no\r\n", mta.Reply{Code: 250, Text: "5.1.1 no"}, nil},
		{"enhanced with too many digits", "250 2.1000.1 no\r\n", mta.Reply{Code: 250, Text: "2.1000.1 no"}, nil},
		{"LF alone", "250 ok\n", mta.Reply{Code: 250, Text: "ok"}, nil},
		{"code alone", "250\r\n", mta.Reply{Code: 250}, nil},
		{"lines", "550-5.1.1 one\r\n550-two\r\n550 5.1.1 three\r\n", mta.Reply{Code: 550, Enhanced: "5.1.1", Text: "one\ntwo\nthree"}, nil},
		{"UTF-8", "250 grün\r\n", mta.Reply{Code: 250, Text: "grün"}, nil},
	} {
		got, err := smtp.ReadReply(bufio.NewReader(strings.NewReader(c.wire)), 10_000)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestAppendReply(t *testing.T) {
	for _, c := range []struct {
		name string
		r    mta.Reply
		utf8 bool
		want string
	}{
		{"line ends in the text", mta.Reply{Code: 550, Enhanced: "5.0.0", Text: "a\r250 b\x00"}, false, "550 5.0.0 a?250 b?\r\n"},
		{"UTF-8 to who did not ask", mta.Reply{Code: 250, Text: "ü"}, false, "250 ?\r\n"},
		{"UTF-8", mta.Reply{Code: 250, Text: "ü"}, true, "250 ü\r\n"},
		{"lines", mta.Reply{Code: 250, Enhanced: "2.0.0", Text: "a\nb"}, false, "250-2.0.0 a\r\n250 2.0.0 b\r\n"},
		{"no text", mta.Reply{Code: 354}, false, "354 \r\n"},
	} {
		if got := string(smtp.AppendReply(nil, c.r, c.utf8)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	for line := range strings.Lines(string(smtp.AppendReply(nil, mta.Reply{Code: 550, Enhanced: "5.1.1", Text: strings.Repeat("ü", 2000)}, true))) {
		if len(line) > smtp.MaxText || !strings.HasSuffix(line, "\r\n") || strings.Contains(line, "\uFFFD") {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
	}
}

func TestParseExtensions(t *testing.T) {
	x := smtp.ParseExtensions(mta.Reply{Code: 250, Text: "mx.test STARTTLS\nsize 1000\nAUTH=LOGIN\nauth PLAIN\n8BITMIME\n!bad\n\nSIZE"})
	if x.Has("STARTTLS") || !x.Has("8BITMIME") || x.Has("!BAD") || x.Size() != 1000 || !x.Auth("PLAIN") || !x.Auth("LOGIN") || x.Auth("GSSAPI") {
		t.Errorf("got %v", x)
	}
	if n := len(smtp.ParseExtensions(mta.Reply{Text: "x\n" + strings.Repeat("A\nB\nC", 1) + manyKeywords()})); n > 100 {
		t.Errorf("got %d keywords, want a bound", n)
	}
	if n := (smtp.Extensions{"SIZE": "-1"}).Size(); n != 0 {
		t.Errorf("SIZE -1: got %d, want 0", n)
	}
}

func manyKeywords() string {
	var b strings.Builder
	for i := range 5000 {
		b.WriteString("\nX")
		for n := i; n > 0; n /= 10 {
			b.WriteByte(byte('0' + n%10))
		}
	}
	return b.String()
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("250-2.1.0 a\r\n250 2.1.0 b\r\n"))
	f.Add([]byte("354 go\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := smtp.ReadReply(bufio.NewReader(strings.NewReader(string(wire))), 1000)
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || strings.ContainsAny(r.Text, "\r\x00\x1b") {
			t.Fatalf("%q: got %+v", wire, r)
		}
		again, err := smtp.ReadReply(bufio.NewReader(strings.NewReader(string(smtp.AppendReply(nil, r, true)))), smtp.MaxReply)
		if err != nil || again.Code != r.Code || again.Enhanced != r.Enhanced {
			// A text may begin with what looks like an enhanced code once it is written.
			if err == nil && r.Enhanced == "" {
				return
			}
			t.Fatalf("%q: got %+v, then %+v, %v", wire, r, again, err)
		}
	})
}
