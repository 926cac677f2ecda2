package daemon_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/filters/daemon"
)

func TestFieldNames(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "A B": false, "A:": false, "A\r\nB": false, "A\x00": false, "é": false, "A\t": false, strings.Repeat("x", 77): false,
		"X-Spam": true, "x": true, "!#$%": true, strings.Repeat("x", 76): true,
	} {
		if got := daemon.FieldName(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

func TestFieldValues(t *testing.T) {
	word, long := strings.Repeat("x", 790), strings.Repeat("x", 2000)
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{" \t ", ""},
		{"\r\n\r\n", ""},
		{"a\r\n\r\nbody", "a\n\tbody"},
		{"a\nBcc: b", "a\n\tBcc: b"},
		{"a\r b\x00\x7f", "a? b??"},
		{"a\u0085\xff", "a??"},
		{"\n  a \n  b", "a\n  b"},
		{"a\n \n\t\nb", "a\n\tb"},
		{"Yes, score=5 é", "Yes, score=5 é"},
		{word + " " + word, word + "\n\t" + word},
		{"a\n " + word + " " + word, "a\n " + word + "\n\t" + word},
		{"a\n" + strings.Repeat(" ", 900) + "b", "a\n\tb"},
		{long, long[:800] + "\n\t" + long[:799] + "\n\t" + long[:401]},
	} {
		if got := daemon.FieldValue(c.text); got != c.want {
			t.Errorf("%.60q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// FuzzFieldValue holds that any text becomes lines which a header can have.
func FuzzFieldValue(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", " \n\t", strings.Repeat("é", 1000), strings.Repeat("x ", 1000), "\n\n" + strings.Repeat(" ", 900) + "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := daemon.FieldValue(text)
		if strings.ContainsAny(got, "\r\x00") || !utf8.ValidString(got) || len(got) > 64<<10 {
			t.Fatalf("%q: got %q", text, got)
		}
		for i, line := range strings.Split(got, "\n") {
			if len(line) > 900 || i > 0 && (strings.TrimSpace(line) == "" || line[0] != ' ' && line[0] != '\t') {
				t.Fatalf("%q: got the line %q", text, line)
			}
		}
	})
}
