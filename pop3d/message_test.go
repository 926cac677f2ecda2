package pop3d_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/pop3d"
)

// wire is what a client must get for a stored message, unstuffed: each LF without a CR before it as CR LF, the last line
// ended. It goes by octet, unlike the code under test.
func wire(stored string) string {
	var b strings.Builder
	var last byte
	for i := 0; i < len(stored); i++ {
		if stored[i] == '\n' && last != '\r' {
			b.WriteByte('\r')
		}
		last = stored[i]
		b.WriteByte(last)
	}
	if stored != "" && last != '\n' {
		b.WriteString("\r\n")
	}
	return b.String()
}

var shapes = map[string]string{
	"empty":                    "",
	"one empty line":           "\n",
	"only the CR of a line":    "\r",
	"a bare CR in a line":      "Subject: a\rb\n\nc\rd\r\re\n",
	"CR LF in the file":        "Subject: a\r\n\r\nb\r\n",
	"no header":                "\nbody\n",
	"no body":                  "Subject: a\n",
	"no body, empty line":      "Subject: a\n\n",
	"no last newline":          "Subject: a\n\nb",
	"a last CR":                "Subject: a\n\nb\r",
	"dots":                     ".\n..\n.a\n\n.\n.\r\n..",
	"a last dot":               "a\n.",
	"what ends an answer":      "a\n.\nQUIT\n",
	"8-bit and NUL":            "Subject: \xff\xfe\x80\n\n\x00\x01\xc3\xa9\n",
	"a long line":              "Subject: a\n\n" + strings.Repeat("x", 100_000) + "\n",
	"a long line of dots":      strings.Repeat(".", 40_000),
	"many empty lines":         strings.Repeat("\n", 20_000),
	"a header of many lines":   strings.Repeat("X-Line: abc\n", 5_000) + "\nb\n",
	"line ends at block edges": strings.Repeat(strings.Repeat("y", 8191)+"\n.", 9),
	"larger than all buffers":  "Subject: a\n\n" + strings.Repeat("line of a large message\n.dot\n", 100_000),
}

func TestMessagesOfAllShapesComeByteForByteAndWithTheirExactSize(t *testing.T) {
	h := start(t, pop3d.Implicit, nil)
	n, stored := 0, map[int]string{}
	for _, content := range shapes {
		n++
		stored[n] = content
		h.put(t, fmt.Sprintf("new/%d.a.h", n), content)
	}
	c := h.login(t)
	for i := 1; i <= n; i++ {
		want := wire(stored[i])
		c.send(fmt.Sprintf("LIST %d\r\nRETR %d\r\n", i, i))
		c.expect(fmt.Sprintf("+OK %d %d", i, len(want)))
		c.expect(fmt.Sprintf("+OK %d octets", len(want)))
		if got := c.body(); got != want {
			t.Errorf("%.40q: got %d octets %.80q, want %d octets %.80q", stored[i], len(got), got, len(want), want)
		}
	}
	c.send("QUIT\r\n")
	c.expect("+OK bye")
}

func TestTopIsTheHeaderAndSomeLines(t *testing.T) {
	h := start(t, pop3d.Implicit, nil)
	n, stored := 0, map[int]string{}
	for _, content := range shapes {
		n++
		stored[n] = content
		h.put(t, fmt.Sprintf("new/%d.a.h", n), content)
	}
	c := h.login(t)
	for i := 1; i <= n; i++ {
		for _, lines := range []int{0, 1, 3} {
			c.send(fmt.Sprintf("TOP %d %d\r\n", i, lines))
			c.expect("+OK top of message follows")
			if got, want := c.body(), topOf(wire(stored[i]), lines); got != want {
				t.Errorf("%.40q, %d lines: got %.80q, want %.80q", stored[i], lines, got, want)
			}
		}
	}
}

// topOf cuts a message on the wire, by line.
func topOf(s string, lines int) string {
	var b strings.Builder
	body := false
	for line := range strings.SplitAfterSeq(s, "\n") {
		if body && lines == 0 {
			break
		}
		if body {
			lines--
		}
		body = body || strings.Trim(line, "\r") == "\n"
		b.WriteString(line)
	}
	return b.String()
}

func TestAMessageCutShortEndsTheSessionWithoutItsLastLine(t *testing.T) {
	h := start(t, pop3d.Implicit, nil)
	large := strings.Repeat("0123456789\n", 1<<20) // more than all socket buffers hold
	h.put(t, "new/1.a.h", large)
	c := h.login(t)
	c.send("RETR 1\r\n")
	c.expect("+OK...")
	c.expect("0123456789")
	if err := os.Truncate(filepath.Join(h.mailbox(), "cur/1.a.h:2,"), 100); err != nil {
		t.Fatal(err)
	}
	last := ""
	for {
		s, err := c.r.ReadString('\n')
		if err != nil {
			break
		}
		last = s
	}
	if last == ".\r\n" {
		t.Error("got the line of a dot, want none: the message is not whole")
	}
	h.log.waitFor(t, "event=pop3-message-failed")
	h.log.waitFor(t, `reason="message file failed while it was sent"`)
}

func TestTwoMessagesWithOneNameHaveTwoUIDLs(t *testing.T) {
	h := start(t, pop3d.Implicit, nil)
	h.put(t, "new/1.a.h", "one\n")
	h.put(t, "cur/1.a.h:2,S", "two\n")
	c := h.login(t)
	c.send("UIDL 1\r\nUIDL 2\r\n")
	a, b := strings.Fields(c.line())[2], strings.Fields(c.line())[2]
	if a == b || len(a) > 70 || len(b) > 70 {
		t.Errorf("got %q and %q, want two names", a, b)
	}
}

func TestTwinsKeepTheirUIDLsWhenTheMaildirIsCopied(t *testing.T) {
	var seen [2]string
	for copied := range seen {
		h := start(t, pop3d.Implicit, nil)
		for i := range 5 { // other inodes in the second round
			h.put(t, fmt.Sprintf("tmp/%d.%d", copied, i), "x")
		}
		h.put(t, "cur/1.a.h:2,S", "two\n")
		h.put(t, "new/1.a.h", "one\n")
		h.put(t, "cur/1.a.h,S=4:2,", "one\n") // and one that differs in nothing but its name
		c := h.login(t)
		c.send("UIDL\r\n")
		c.expect("+OK...")
		all := strings.Split(strings.TrimSpace(c.body()), "\r\n")
		for i := range all {
			_, all[i], _ = strings.Cut(all[i], " ")
		}
		slices.Sort(all)
		if len(slices.Compact(all)) != 3 {
			t.Errorf("got %q, want three names", all)
		}
		seen[copied] = strings.Join(all, " ")
	}
	if seen[0] != seen[1] {
		t.Errorf("got %q, and of a copy %q", seen[0], seen[1])
	}
}

func TestQuitTellsWhatItCouldNotRemove(t *testing.T) {
	h := start(t, pop3d.Implicit, nil)
	h.put(t, "cur/1.a.h:2,", "one\n")
	h.put(t, "cur/2.a.h:2,", "two\n")
	h.put(t, "cur/3.a.h:2,", "three\n")
	c := h.login(t)
	c.send("DELE 1\r\nDELE 2\r\nNOOP\r\n")
	for range 3 {
		c.expect("+OK...")
	}
	release := undeletable(t, filepath.Join(h.mailbox(), "cur/1.a.h:2,"))
	c.send("QUIT\r\n")
	c.expect("-ERR [SYS/TEMP] 1 of 2 deleted messages not removed")
	c.expectEOF()
	release()
	h.log.waitFor(t, "reason=quit fetched=0 deleted=1")
	h.log.waitFor(t, "event=pop3-message-failed")
	if h.exists("cur/2.a.h:2,") || !h.exists("cur/1.a.h:2,") || !h.exists("cur/3.a.h:2,") {
		t.Error("got the wrong messages removed, want the second alone")
	}
}
