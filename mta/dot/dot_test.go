package dot_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posthouse-mail/posthouse/mta/dot"
)

func readAll(t testing.TB, wire string, size int, o dot.ReaderOptions) (content, rest string, faults dot.Fault, err error) {
	t.Helper()
	br := bufio.NewReaderSize(strings.NewReader(wire), size)
	r := dot.NewReader(br, o)
	b, err := io.ReadAll(r)
	after, _ := io.ReadAll(br)
	return string(b), string(after), r.Faults(), err
}

func TestReaderStopsAtTheTrueEndOnly(t *testing.T) {
	for _, c := range []struct {
		name, wire, content, rest string
		faults                    dot.Fault
	}{
		// What smugglers send: each of these is an end of data to some servers.
		{"LF dot LF", "a\n.\nb\r\n.\r\nQ", "a\n.\nb\r\n", "Q", dot.BareLF},
		{"LF dot CRLF", "a\n.\r\nb\r\n.\r\nQ", "a\n.\r\nb\r\n", "Q", dot.BareLF},
		{"CRLF dot LF", "a\r\n.\nb\r\n.\r\nQ", "a\r\n\nb\r\n", "Q", dot.BareLF},
		{"CRLF dot CR", "a\r\n.\rb\r\n.\r\nQ", "a\r\n\rb\r\n", "Q", dot.BareCR},
		{"CR dot CR", "a\r.\rb\r\n.\r\nQ", "a\r.\rb\r\n", "Q", dot.BareCR},
		{"CR dot CRLF", "a\r.\r\nb\r\n.\r\nQ", "a\r.\r\nb\r\n", "Q", dot.BareCR},
		{"CRLF dot CR CRLF", "a\r\n.\r\r\nb\r\n.\r\nQ", "a\r\n\r\r\nb\r\n", "Q", dot.BareCR},
		{"CR CRLF dot CRLF", "a\r\r\n.\r\nQ", "a\r\r\n", "Q", dot.BareCR},
		{"CRLF NUL dot CRLF", "a\r\n\x00.\r\nb\r\n.\r\nQ", "a\r\n\x00.\r\nb\r\n", "Q", dot.NUL},
		{"NUL behind the end is not ours", "a\r\n.\r\n\x00", "a\r\n", "\x00", 0},
		{"long line", "12345678\r\n1234567890\r\n.\r\nQ", "12345678\r\n1234567890\r\n", "Q", dot.LongLine},
		{"line of just the length", "..345678\r\n.\r\nQ", ".345678\r\n", "Q", 0},
		{"empty", ".\r\nQ", "", "Q", 0},
		{"stuffed dots", "..\r\n...\r\n.a\r\n.\r\n.\r\n", ".\r\n..\r\na\r\n", ".\r\n", 0},
		{"empty lines", "\r\n\r\n.\r\n", "\r\n\r\n", "", 0},
	} {
		for _, size := range []int{16, 4096} {
			content, rest, faults, err := readAll(t, c.wire, size, dot.ReaderOptions{MaxLine: 10})
			if content != c.content || rest != c.rest || faults != c.faults || err != nil {
				t.Errorf("%s: got %q, rest %q, %v, %v; want %q, rest %q, %v", c.name, content, rest, faults, err, c.content, c.rest, c.faults)
			}
		}
	}
}

func TestReaderRepairs(t *testing.T) {
	for _, c := range []struct {
		name, wire, content string
		faults              dot.Fault
		o                   dot.ReaderOptions
	}{
		{"bare LF never ends the data", "a\n.\r\nb\n.\nc\r\n.\r\n", "a\r\n.\r\nb\r\n.\r\nc\r\n", 0, dot.ReaderOptions{RepairLF: true}},
		{"bare CR stays a fault", "a\rb\nc\r\n.\r\n", "a\rb\r\nc\r\n", dot.BareCR, dot.ReaderOptions{RepairLF: true}},
		{"bare CR", "a\rb\r.\r\n.\r\n", "a\r\nb\r\n.\r\n", 0, dot.ReaderOptions{RepairCR: true}},
		{"repaired lines count apart", "12345\n12345\n1234\r\n.\r\n", "12345\r\n12345\r\n1234\r\n", 0, dot.ReaderOptions{RepairLF: true, MaxLine: 7}},
	} {
		content, _, faults, err := readAll(t, c.wire, 16, c.o)
		if content != c.content || faults != c.faults || err != nil {
			t.Errorf("%s: got %q, %v, %v; want %q, %v", c.name, content, faults, err, c.content, c.faults)
		}
	}
}

func TestReaderKeepsAnErrorOfTheStream(t *testing.T) {
	for _, wire := range []string{"", "a", "a\r\n", "a\r\n.", "a\r\n.\r"} {
		r := dot.NewReader(bufio.NewReader(strings.NewReader(wire)), dot.ReaderOptions{})
		if _, err := io.ReadAll(r); err != io.ErrUnexpectedEOF {
			t.Errorf("%q: got %v, want %v", wire, err, io.ErrUnexpectedEOF)
		}
		if _, err := r.Read(make([]byte, 9)); err != io.ErrUnexpectedEOF {
			t.Errorf("%q, again: got %v, want %v", wire, err, io.ErrUnexpectedEOF)
		}
	}
}

func write(t testing.TB, w *dot.Writer, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", p, n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWriter(t *testing.T) {
	for _, c := range []struct{ name, content, wire string }{
		{"bare LF dot", "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"bare CR dot", "a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"},
		{"CR at the end", "a\r", "a\r\n.\r\n"},
		{"empty", "", ".\r\n"},
		{"no last line end", "a\r\nb", "a\r\nb\r\n.\r\n"},
		{"dots", ".\r\n..\r\na.\r\n", "..\r\n...\r\na.\r\n.\r\n"},
		{"empty lines", "\r\n\r\n", "\r\n\r\n.\r\n"},
	} {
		for _, cut := range []int{1, 2, 100} {
			var b bytes.Buffer
			write(t, dot.NewWriter(&b), pieces(c.content, cut)...)
			if b.String() != c.wire {
				t.Errorf("%s by %d: got %q, want %q", c.name, cut, b.String(), c.wire)
			}
		}
	}
}

func TestStufferAndWireSize(t *testing.T) {
	for _, c := range []struct {
		name, content, wire string
		size                int64
	}{
		{"CRLF stays", "a\r\nb\n", "a\r\nb\r\n.\r\n", 6},
		{"bare CR stays", "a\rb\n.\r.\n", "a\rb\r\n..\r.\r\n.\r\n", 10},
		{"CR alone at the end", "a\r", "a\r\r\n.\r\n", 4},
		{"LF after CR LF", "\r\n\n", "\r\n\r\n.\r\n", 4},
		{"empty", "", ".\r\n", 0},
		{"no last line end", "a\n.b", "a\r\n..b\r\n.\r\n", 7},
		{"dot alone", ".", "..\r\n.\r\n", 3},
	} {
		for _, cut := range []int{1, 2, 100} {
			var s dot.Stuffer
			var b []byte
			for _, p := range pieces(c.content, cut) {
				before := len(b)
				if b = s.Append(b, []byte(p)); len(b)-before > dot.MaxGrowth*len(p)+1 {
					t.Errorf("%s by %d: %q became %q", c.name, cut, p, b[before:])
				}
			}
			if b = s.End(b); string(b) != c.wire {
				t.Errorf("%s by %d: got %q, want %q", c.name, cut, b, c.wire)
			}
		}
		for _, r := range []io.Reader{strings.NewReader(c.content), iotest.OneByteReader(strings.NewReader(c.content))} {
			if n, err := dot.WireSize(r, make([]byte, 64)); n != c.size || err != nil {
				t.Errorf("%s: WireSize = %d, %v; want %d", c.name, n, err, c.size)
			}
		}
	}
}

func pieces(s string, n int) []string {
	var out []string
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}

func TestWriterKeepsAnError(t *testing.T) {
	broken := errors.New("broken")
	w := dot.NewWriter(failing{broken})
	_, err := w.Write(bytes.Repeat([]byte("x"), 100_000))
	if err != broken || w.Close() != broken {
		t.Errorf("Write: got %v, want %v, and Close the same", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
