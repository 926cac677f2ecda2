package dot_test

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/posthouse-mail/posthouse/mta/dot"
)

// slow reads a stream octet by octet, by the words of RFC 5321 4.5.2.
func slow(wire []byte, maxLine int, lf, cr bool) (content []byte, used int, faults dot.Fault, ended bool) {
	start := true // of a line, behind CR LF
	lineLen := 0
	put := func(s ...byte) {
		content = append(content, s...)
		lineLen += len(s)
		if lineLen > maxLine {
			faults |= dot.LongLine
		}
	}
	has := func(i int, c byte) bool { return i < len(wire) && wire[i] == c }
	for i := 0; i < len(wire); i++ {
		c := wire[i]
		if start && c == '.' {
			if has(i+1, '\r') && has(i+2, '\n') {
				return content, i + 3, faults, true
			}
			start = false
			continue
		}
		start = false
		switch {
		case c == '\r' && has(i+1, '\n'):
			put('\r', '\n')
			i++
			start, lineLen = true, 0
		case c == '\r' && cr, c == '\n' && lf:
			put('\r', '\n')
			lineLen = 0
		case c == '\r':
			faults |= dot.BareCR
			put(c)
		case c == '\n':
			faults |= dot.BareLF
			put(c)
		case c == 0:
			faults |= dot.NUL
			put(c)
		default:
			put(c)
		}
	}
	return content, 0, 0, false
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nQUIT"), uint8(0))
	f.Add([]byte("a\n.\r\n\r.\r\r\n..x\r\n.\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, wire []byte, flags uint8) {
		o := dot.ReaderOptions{MaxLine: 20, RepairLF: flags&1 != 0, RepairCR: flags&2 != 0}
		want, used, faults, ended := slow(wire, o.MaxLine, o.RepairLF, o.RepairCR)
		src := io.Reader(bytes.NewReader(wire))
		if flags&4 != 0 {
			src = iotest.HalfReader(src)
		}
		br := bufio.NewReaderSize(src, 16)
		r := dot.NewReader(br, o)
		var rd io.Reader = r
		if flags&8 != 0 {
			rd = iotest.OneByteReader(r)
		}
		got, err := io.ReadAll(rd)
		if !ended {
			if err != io.ErrUnexpectedEOF {
				t.Fatalf("got %v, want %v", err, io.ErrUnexpectedEOF)
			}
			return
		}
		rest, _ := io.ReadAll(br)
		if !bytes.Equal(got, want) || err != nil || r.Faults() != faults || len(rest) != len(wire)-used {
			t.Fatalf("%q: got %q, %v, %v, %d behind; want %q, %v, %d", wire, got, err, r.Faults(), len(rest), want, faults, len(wire)-used)
		}
	})
}

func FuzzWriterReader(f *testing.F) {
	f.Add([]byte("a\r\n.\r\n..\r\nb"), uint8(1), false)
	f.Add([]byte("\r\r\n.\n"), uint8(3), true)
	f.Fuzz(func(t *testing.T, content []byte, cut uint8, lf bool) {
		var wire bytes.Buffer
		w, s := dot.NewWriter(&wire), dot.Stuffer{}
		for rest := content; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			if lf {
				wire.Write(s.Append(nil, rest[:n]))
			} else {
				_, _ = w.Write(rest[:n])
			}
			rest = rest[n:]
		}
		if lf {
			wire.Write(s.End(nil))
		} else if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		wire.WriteString("NEXT")
		br := bufio.NewReader(&wire)
		r := dot.NewReader(br, dot.ReaderOptions{})
		got, err := io.ReadAll(r)
		rest, _ := io.ReadAll(br)
		want, allowed := reference(content, lf)
		if err != nil || !bytes.Equal(got, want) || string(rest) != "NEXT" || r.Faults()&^allowed != 0 {
			t.Fatalf("%q: got %q, %v, %v, rest %q; want %q", content, got, err, r.Faults(), rest, want)
		}
		if size, _ := dot.WireSize(bytes.NewReader(content), make([]byte, int(cut)+1)); lf && size != int64(len(got)) {
			t.Fatalf("%q: WireSize = %d, want %d", content, size, len(got))
		}
	})
}

// reference is what a Writer or a Stuffer makes of a content, before dots are stuffed.
func reference(content []byte, lf bool) (out []byte, allowed dot.Fault) {
	for i, c := range content {
		switch {
		case c == '\n' && i > 0 && content[i-1] == '\r':
			if lf {
				out = append(out, '\n')
			}
		case c == '\n', c == '\r' && !lf:
			out = append(out, '\r', '\n')
		default:
			out = append(out, c)
		}
	}
	if n := len(content); n > 0 && content[n-1] != '\n' && (lf || content[n-1] != '\r') {
		out = append(out, '\r', '\n')
	}
	allowed = dot.NUL
	if lf {
		allowed |= dot.BareCR
	}
	return out, allowed
}

func BenchmarkReader(b *testing.B) {
	var wire bytes.Buffer
	w := dot.NewWriter(&wire)
	for range 20_000 {
		_, _ = w.Write([]byte("This is a line of seventy-six characters, as base64 and most mail has them.\r\n"))
	}
	_ = w.Close()
	data, out := wire.Bytes(), make([]byte, 32<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r := dot.NewReader(bufio.NewReaderSize(bytes.NewReader(data), 32<<10), dot.ReaderOptions{MaxLine: 65536})
		for {
			if _, err := r.Read(out); err != nil {
				break
			}
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	data := bytes.Repeat([]byte("This is a line of seventy-six characters, as base64 and most mail has them.\r\n"), 20_000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w := dot.NewWriter(io.Discard)
		_, _ = w.Write(data)
		_ = w.Close()
	}
}

func BenchmarkStuffer(b *testing.B) {
	data := bytes.Repeat([]byte("This is a line of seventy-five characters, as base64 and most mail has it.\n"), 200)
	out := make([]byte, 0, dot.MaxGrowth*len(data)+1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var s dot.Stuffer
		out = s.Append(out[:0], data)
	}
}

func BenchmarkWireSize(b *testing.B) {
	data, buf := bytes.Repeat([]byte("This is a line of seventy-five characters, as base64 and most mail has it.\n"), 200), make([]byte, 64<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := dot.WireSize(bytes.NewReader(data), buf); err != nil {
			b.Fatal(err)
		}
	}
}
