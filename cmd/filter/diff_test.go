package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	const head = "--- as it came\n+++ as it would be delivered\n"
	many := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n"
	for _, c := range []struct{ name, before, after, want string }{
		{"nothing", "", "", ""},
		{"equal, but for line ends", "a\r\nb\r\n", "a\nb", ""},
		{"of nothing", "", "a\n", head + "@@ -1,0 +1,1 @@\n+a\n"},
		{"to nothing", "a\nb\n", "", head + "@@ -1,2 +1,0 @@\n-a\n-b\n"},
		{"one line", "a\nb\nc\n", "a\nX\nc\n", head + "@@ -1,3 +1,3 @@\n a\n-b\n+X\n c\n"},
		{"a line twice", "a\na\nb\n", "a\nb\n", head + "@@ -1,3 +1,2 @@\n a\n-a\n b\n"},
		{"two places near each other", many, strings.NewReplacer("2\n3", "2\nX\n3", "9\n10", "10").Replace(many), head + "@@ -1,12 +1,12 @@\n 1\n 2\n+X\n 3\n 4\n 5\n 6\n 7\n 8\n-9\n 10\n 11\n 12\n"},
		{"two places far apart", "x\n" + many + "y\n", many, head + "@@ -1,4 +1,3 @@\n-x\n 1\n 2\n 3\n@@ -11,4 +10,3 @@\n 10\n 11\n 12\n-y\n"},
	} {
		if got := diff([]byte(c.before), []byte(c.after)); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestDiffOfALotThatIsOtherIsBounded(t *testing.T) {
	var a, b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&a, "a%d\n", i)
		fmt.Fprintf(&b, "b%d\n", i)
	}
	got := diff([]byte(a.String()), []byte(b.String()))
	if !strings.Contains(got, "@@ -1,5000 +1,5000 @@\n-a0\n-a1\n") || strings.Count(got, "\n") != 10003 {
		t.Errorf("got %d lines, want each of both", strings.Count(got, "\n"))
	}
}

func TestVisibleLinesDoNothingToATerminal(t *testing.T) {
	for text, want := range map[string]string{
		"a\tb ä": "a\tb ä", "\x1b[2Jx": `\u001b[2Jx`, "a\rb": `a\u000db`, "\xff\xfe": `\xff\xfe`, "\u202eabc": `\u202eabc`, "\uFFFD": "\uFFFD",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestReadMessageGivesLineEnds(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a: b\n\nc": "a: b\r\n\r\nc\r\n", "a: b\r\n\r\nc\r\n": "a: b\r\n\r\nc\r\n", "From x Mon\nA: b\n": "A: b\r\n",
	} {
		if got, err := readMessage(strings.NewReader(text), 1000); err != nil || string(got) != want {
			t.Errorf("%q: got %q %v, want %q", text, got, err, want)
		}
	}
	if _, err := readMessage(strings.NewReader(strings.Repeat("x", 1001)), 1000); err == nil {
		t.Error("a message that is too large is read")
	}
}
