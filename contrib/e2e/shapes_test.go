package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const maxLine = 64 << 10 // the default of smtpd.max_line, line end included

// shape is a content with CR LF line ends.
type shape struct{ name, content string }

func shapes() []shape {
	big := strings.Repeat(strings.Repeat("0123456789abcdef", 4)+"\r\n", 25<<20/66)
	dots := ""
	for n := range 80 {
		dots += strings.Repeat(".", n) + "\r\n"
	}
	var octets strings.Builder
	for b := 1; b < 256; b++ {
		if b != '\r' && b != '\n' {
			octets.WriteByte(byte(b))
		}
	}
	return []shape{
		{"nothing", ""},
		{"empty line alone", "\r\n"},
		{"empty body", "Subject: nothing more\r\n\r\n"},
		{"header without its end", "Subject: nothing more\r\n"},
		{"no header", "\r\nHello\r\n"},
		{"body at once", "Hello, this is no header field\r\nat all\r\n"},
		{"empty lines", strings.Repeat("\r\n", 1000)},
		{"every octet but NUL, CR, LF", "Subject: x\r\n\r\n" + octets.String() + "\r\n"},
		{"UTF-8", "Subject: Grüße\r\n\r\nΣὲ γνωρίζω\r\n"},
		{"no text at all", "Subject: x\r\n\r\n\xff\xfe\x80\x81\r\n"},
		{"dots", "Subject: dots\r\n\r\n" + dots + dots},
		{"dots first", dots},
		{"a dot and blanks", ". \r\n .\r\n.\t\r\n..\r\n"},
		{"spaces at the ends", "Subject: x \r\n\r\n a \t\r\n \r\n\t\r\n"},
		{"From lines", "Subject: x\r\n\r\nFrom here\r\n>From there\r\nFrom: x\r\n"},
		{"trace fields of others", "Return-Path: <x@y.test>\r\nDelivered-To: x@y.test\r\nReceived: from x by y; now\r\n\r\nx\r\n"},
		{"header of 5,000 lines", strings.Repeat("X-Field: some value\r\n\tand more\r\n", 2500) + "\r\nx\r\n"},
		{"field of 5,000 lines", "X-Field: x\r\n" + strings.Repeat(" folded and folded again\r\n", 5000) + "\r\nx\r\n"},
		{"line of 998 octets", "Subject: x\r\n\r\n" + strings.Repeat("x", 998) + "\r\n"},
		{"the longest line", "Subject: x\r\n\r\n" + strings.Repeat("x", maxLine-2) + "\r\n.\r\n"},
		{"the longest line, of dots", strings.Repeat(".", maxLine-2) + "\r\nx\r\n"},
		{"the longest field", "X-Field: " + strings.Repeat("x", maxLine-11) + "\r\n\r\n"},
		{"as large as a segment holds", strings.Repeat("0123456789abcd\r\n", 256<<10/16)},
		{"an octet more", strings.Repeat("0123456789abcd\r\n", 256<<10/16-1) + "0123456789abcde\r\n"},
		{"25 MB", "Subject: big\r\n\r\n" + big},
		{"25 MB of short lines", strings.Repeat(".\r\n", 25<<20/3)},
	}
}

// others are the messages that Python tests its own email package with, as a mail program would send them.
func others(t *testing.T) []shape {
	t.Helper()
	out, err := exec.Command(mtatest.Need(t, "python3"), "-c", "import test.test_email as t, os; print(os.path.join(os.path.dirname(t.__file__), 'data'))").Output()
	if err != nil {
		mtatest.Lacking(t, "Python has no test.test_email: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "msg_*.txt"))
	if err != nil || len(files) == 0 {
		mtatest.Lacking(t, "no messages in %s: %v", out, err)
	}
	var all []shape
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "").Replace(string(b))
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		all = append(all, shape{filepath.Base(f), strings.ReplaceAll(text, "\n", "\r\n")})
	}
	return all
}

func TestEveryShapeComesBackOctetByOctet(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	t.Run("ours", func(t *testing.T) { i.roundTrip(t, shapes()) })
	t.Run("Python's", func(t *testing.T) { i.roundTrip(t, others(t)) })
	i.stop()
	i.wantSound()
}

// roundTrip sends messages from outside to bob in one session, and fetches them in another.
func (i *instance) roundTrip(t *testing.T, list []shape) {
	c := i.connect(t)
	if err := c.secure(i.certs.Client(i.ip)); err != nil {
		t.Fatal(err)
	}
	ids := map[string]shape{}
	for _, s := range list {
		id, _, err := c.send([]byte(s.content), "alice@away.test", i.address("bob"))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		ids[id] = s
	}
	for id := range ids {
		i.delivered(id, "bob")
	}
	got := i.fetchAll(t, "bob")
	if len(got) != len(list) {
		t.Errorf("got %d messages, want %d", len(got), len(list))
	}
	for _, m := range got {
		head, rest := trace(t, m)
		_, after, _ := strings.Cut(string(head), "\tid ")
		id, _, _ := strings.Cut(after, "\r\n")
		s, ok := ids[id]
		if !ok {
			t.Errorf("got a message that was not sent, or twice: %q", head)
			continue
		}
		delete(ids, id)
		if string(rest) != s.content {
			t.Errorf("%s: %s", s.name, difference(rest, []byte(s.content)))
		}
		want := fmt.Sprintf("Return-Path: <%s>\r\nDelivered-To: %s\r\nReceived: from client.test ([%s])\r\n\tby mx.%s with ESMTPS\r\n\t(TLSv1.3", "alice@away.test", i.address("bob"), clientIP(c), i.domain)
		if !strings.HasPrefix(string(head), want) || !strings.Contains(string(head), "\tfor <"+i.address("bob")+">;") {
			t.Errorf("%s: got trace fields\n%s\nwant them to begin with\n%s", s.name, head, want)
		}
	}
	for id, s := range ids {
		t.Errorf("%s: %s did not come back", s.name, id)
	}
}

func clientIP(c *smtpConn) string {
	host, _, _ := strings.Cut(c.nc.LocalAddr().String(), ":")
	return host
}

// difference says where two contents part.
func difference(got, want []byte) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	part := func(b []byte) []byte { return b[min(len(b), max(0, n-20)):min(len(b), n+40)] }
	return fmt.Sprintf("got %d octets (SHA-256 %.8x), want %d; at %d: got %q, want %q", len(got), sha256.Sum256(got), len(want), n, part(got), part(want))
}

func TestWhatNoMailMayHoldIsRefused(t *testing.T) {
	t.Parallel()
	i := start(t, options{})
	for _, c := range []struct{ name, content, reply string }{
		{"NUL", "Subject: x\r\n\r\na\x00b\r\n", "550 5.6.0"},
		{"bare CR", "Subject: x\r\n\r\na\rb\r\n", "550 5.6.0"},
		{"bare LF", "Subject: x\r\n\r\na\nb\r\n", "550 5.6.0"},
		{"an end with bare LF", "x\r\n\n.\nMAIL FROM:<x@y.test>\r\n", "550 5.6.0"},
		{"an end with bare CR", "x\r\r.\rMAIL FROM:<x@y.test>\r\n", "550 5.6.0"},
		{"a line too long by one", strings.Repeat("x", maxLine-1) + "\r\n", "550 5.6.0"},
		{"a loop", strings.Repeat("Received: from x by y; now\r\n", 101) + "\r\nx\r\n", "554 5.4.6"},
		{"too large", strings.Repeat(strings.Repeat("x", 998)+"\r\n", 51<<20/1000), "552 5.3.4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := i.connect(t)
			_, _, err := s.send([]byte(c.content), "x@away.test", i.address("bob"))
			if err == nil || !strings.Contains(err.Error(), `got reply "`+c.reply) {
				t.Errorf("got %v, want %s", err, c.reply)
			}
			if _, err := s.cmd("250", "RSET"); err != nil {
				t.Errorf("the dialogue is out of step, or over: %v", err)
			}
		})
	}
	i.delivered(i.deposit(t, "Subject: last\r\n\r\n", "bob"), "bob")
	if _, rest := trace(t, i.one(t, "bob")); !bytes.Equal(rest, []byte("Subject: last\r\n\r\n")) {
		t.Errorf("got %q, want the last message alone", rest)
	}
	i.stop()
	i.wantSound()
}
