package dot_test

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posthouse-mail/posthouse/mta/dot"
)

// readChunks reads chunks that stand one behind the other, the last of them being so marked.
func readChunks(t testing.TB, o dot.ReaderOptions, size int, chunks ...string) (content string, faults dot.Fault) {
	t.Helper()
	wire := strings.Join(chunks, "") + "QUIT"
	br := bufio.NewReaderSize(strings.NewReader(wire), 16)
	r := dot.NewChunkReader(o)
	var b strings.Builder
	buf := make([]byte, size)
	for i, c := range chunks {
		r.Next(br, int64(len(c)), i == len(chunks)-1)
		for {
			n, err := r.Read(buf)
			b.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v", chunks, err)
			}
		}
	}
	if rest, err := io.ReadAll(br); string(rest) != "QUIT" || err != nil {
		t.Errorf("%q: left %q, %v, want what stands behind the last chunk", chunks, rest, err)
	}
	return b.String(), r.Faults()
}

func TestChunksAreHeldToTheRulesOfData(t *testing.T) {
	repair := dot.ReaderOptions{RepairLF: true, RepairCR: true}
	for _, c := range []struct {
		name   string
		chunks []string
		want   string
		faults dot.Fault
		o      dot.ReaderOptions
	}{
		{"bare LF", []string{"a\nb\r\n"}, "a\nb\r\n", dot.BareLF, dot.ReaderOptions{}},
		{"bare LF behind a chunk's end", []string{"a", "\nb\r\n"}, "a\nb\r\n", dot.BareLF, dot.ReaderOptions{}},
		{"bare CR before a chunk's end", []string{"a\r", "b\r\n"}, "a\rb\r\n", dot.BareCR, dot.ReaderOptions{}},
		{"bare CR at the end of all", []string{"a\r"}, "a\r\r\n", dot.BareCR, dot.ReaderOptions{}},
		{"bare CR before an empty last chunk", []string{"a\r", ""}, "a\r\r\n", dot.BareCR, dot.ReaderOptions{}},
		{"NUL", []string{"a\x00\r\n"}, "a\x00\r\n", dot.NUL, dot.ReaderOptions{}},
		{"a long line in pieces", []string{"12345", "67890", "1\r\n"}, "12345678901\r\n", dot.LongLine, dot.ReaderOptions{MaxLine: 12}},
		{"a line of just the length", []string{"12345", "67890\r", "\n"}, "1234567890\r\n", 0, dot.ReaderOptions{MaxLine: 12}},
		{"nothing", []string{""}, "", 0, dot.ReaderOptions{}},
		{"nothing in pieces", []string{"", "", ""}, "", 0, dot.ReaderOptions{}},
		{"CR LF cut apart", []string{"a\r", "", "\nb\r", "\n"}, "a\r\nb\r\n", 0, dot.ReaderOptions{}},
		{"no line end", []string{"a\r\nb"}, "a\r\nb\r\n", 0, dot.ReaderOptions{}},
		{"dots", []string{".\r\n..\r\n", ".\r\n"}, ".\r\n..\r\n.\r\n", 0, dot.ReaderOptions{}},
		{"an end of DATA is content", []string{"a\r\n.\r\nMAIL\r\n"}, "a\r\n.\r\nMAIL\r\n", 0, dot.ReaderOptions{}},
		{"repaired", []string{"a\nb\r", "c\r"}, "a\r\nb\r\nc\r\n", 0, repair},
		{"repaired, no line end", []string{"a\nb"}, "a\r\nb\r\n", 0, repair},
	} {
		for _, size := range []int{1, 100} {
			if got, faults := readChunks(t, c.o, size, c.chunks...); got != c.want || faults != c.faults {
				t.Errorf("%s by %d: got %q, %v; want %q, %v", c.name, size, got, faults, c.want, c.faults)
			}
		}
	}
}

func TestChunkThatIsCutShort(t *testing.T) {
	r := dot.NewChunkReader(dot.ReaderOptions{})
	r.Next(bufio.NewReader(strings.NewReader("abc")), 4, true)
	if b, err := io.ReadAll(r); string(b) != "abc" || err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v; want %v", b, err, io.ErrUnexpectedEOF)
	}
	r = dot.NewChunkReader(dot.ReaderOptions{})
	r.Next(bufio.NewReader(iotest.ErrReader(io.ErrClosedPipe)), 1, true)
	if _, err := io.ReadAll(r); err != io.ErrClosedPipe {
		t.Errorf("got %v, want the stream's error", err)
	}
}

// FuzzChunks: however a content is cut, BDAT brings what DATA brings, with the same faults.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a\r\n.\r\n\rb\nc\x00\r\n"), []byte{1, 2, 3}, uint8(0))
	f.Add([]byte("..\r\n.\n.\r.\r\n"), []byte{4, 0, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, content, cuts []byte, flags uint8) {
		o := dot.ReaderOptions{MaxLine: 20, RepairLF: flags&1 != 0, RepairCR: flags&2 != 0}
		if len(content) > 0 {
			content = append(content, "\r\n"...)
		}
		var chunks []string
		rest := string(content)
		for _, n := range cuts {
			n := min(int(n), len(rest))
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		got, faults := readChunks(t, o, 7, append(chunks, rest)...)
		want, _, wantFaults, err := readAll(t, stuff(string(content))+".\r\n", 16, o)
		if got != want || faults != wantFaults || err != nil {
			t.Fatalf("%q cut by %v: got %q, %v; DATA gives %q, %v, %v", content, cuts, got, faults, want, wantFaults, err)
		}
	})
}

// stuff doubles the dot of each line that begins with one; a line begins behind CR LF alone.
func stuff(content string) string {
	return strings.ReplaceAll("\r\n"+content, "\r\n.", "\r\n..")[2:]
}
