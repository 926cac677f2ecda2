package message_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

func TestReaderRenders(t *testing.T) {
	const content = "0123456789"
	for _, c := range []struct {
		name, prepend string
		cut           []mta.Range
		want          string
	}{
		{"cut beyond the end", "", []mta.Range{{Off: 8, Len: 100}, {Off: 200, Len: 1}}, "01234567"},
		{"cut of all", "p", []mta.Range{{Off: 0, Len: 10}}, "p"},
		{"empty cut", "", []mta.Range{{Off: 3}}, content},
		{"nothing to do", "", nil, content},
		{"both", "head\r\n", []mta.Range{{Off: 0, Len: 2}, {Off: 2, Len: 1}, {Off: 5, Len: 4}}, "head\r\n349"},
	} {
		r := message.NewReader(c.prepend, c.cut, strings.NewReader(content), int64(len(content)))
		if err := iotest.TestReader(r, []byte(c.want)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		r.Reset()
		var b bytes.Buffer
		n, err := r.WriteTo(&b)
		if b.String() != c.want || n != r.Size() || r.Size() != int64(len(c.want)) || err != nil {
			t.Errorf("%s: WriteTo gave %q, %d, %v, size %d; want %q", c.name, b.String(), n, err, r.Size(), c.want)
		}
	}
}

func TestReaderOfATruncatedContent(t *testing.T) {
	r := message.NewReader("p", nil, strings.NewReader("short"), 100)
	if b, err := io.ReadAll(r); err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v; want %v", b, err, io.ErrUnexpectedEOF)
	}
	broken := errors.New("broken disk")
	r = message.NewReader("p", nil, failing{broken}, 100)
	if n, err := r.WriteTo(io.Discard); !errors.Is(err, broken) {
		t.Errorf("got %d, %v; want %v", n, err, broken)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestReaderWritesLargeBlocks(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	var w counter
	if _, err := message.NewReader("head", nil, strings.NewReader(big), int64(len(big))).WriteTo(&w); err != nil || w.writes > 20 {
		t.Errorf("got %d writes, %v; want at most 20", w.writes, err)
	}
}

type counter struct{ writes int }

func (c *counter) Write(p []byte) (int, error) { c.writes++; return len(p), nil }

func fields(s string, limit int64) (out []message.Field, err error) {
	for f, e := range message.Fields(strings.NewReader(s), int64(len(s)), limit) {
		if e != nil {
			return out, e
		}
		out = append(out, f)
	}
	return out, nil
}

func TestFields(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []message.Field
	}{
		{"empty", "", nil},
		{"no header", "\r\nA: b\r\n", nil},
		{"begins with a folded line", " x\r\nA: b\r\n", nil},
		{"no colon ends it", "A: b\r\nbody\r\nC: d\r\n", []message.Field{{Name: "A", Off: 0, Len: 6}}},
		{"blank in the name ends it", "A B: b\r\n", nil},
		{"8-bit name ends it", "\xff: b\r\n", nil},
		{"mbox line", "From a@b Thu\r\nA: b\r\n", nil},
		{"no last line end", "A: b", []message.Field{{Name: "A", Off: 0, Len: 4}}},
		{"folded", "A: b\r\n\tc\r\n d\r\nE:\r\n\r\nbody: x", []message.Field{{Name: "A", Off: 0, Len: 14}, {Name: "E", Off: 14, Len: 4}}},
		{"LF", "A: b\nC: d\n\nx", []message.Field{{Name: "A", Off: 0, Len: 5}, {Name: "C", Off: 5, Len: 5}}},
		{"blank before the colon", "A \t: b\r\n", []message.Field{{Name: "A", Off: 0, Len: 8}}},
		{"long line", "A: " + strings.Repeat("x", 9000) + "\r\nB: c\r\n", []message.Field{{Name: "A", Off: 0, Len: 9005}, {Name: "B", Off: 9005, Len: 6}}},
	} {
		got, err := fields(c.in, 1<<20)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", c.name, err, diff)
		}
	}
	if _, err := fields(strings.Repeat("A: b\r\n", 100), 60); err != message.ErrHeaderTooLong {
		t.Errorf("got %v, want %v", err, message.ErrHeaderTooLong)
	}
	for _, err := range message.Fields(failing{io.ErrClosedPipe}, 10, 10) {
		if err != io.ErrClosedPipe {
			t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
		}
	}
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     int
		eight    bool
	}{
		{"folded, in the body, and longer names", "X: Received: a\r\n Received: b\r\nReceivedX: c\r\nX-Received: d\r\nReceived\r\n\r\nReceived: e\r\n", 0, false},
		{"several", "Received: a\r\n\tb\r\nRECEIVED: c\r\nreceived \t: d\r\nReceived:\r\n\r\n", 4, false},
		{"LF", "Received: a\nReceived: b\n\nReceived: c\n", 2, false},
		{"eight bit at the end", "A: b\r\n\r\n1234567\xff", 0, true},
		{"no header", "\r\nReceived: a\r\n", 0, false},
	} {
		for _, size := range []int{1, 3, 1000} {
			var s message.Scan
			for rest := c.in; rest != ""; {
				n := min(size, len(rest))
				_, _ = s.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if s.Received != c.want || s.EightBit != c.eight {
				t.Errorf("%s by %d: got %d, %v; want %d, %v", c.name, size, s.Received, s.EightBit, c.want, c.eight)
			}
		}
	}
}

// FuzzFields: the fields stand one behind the other from the start, and Scan counts the same Received.
func FuzzFields(f *testing.F) {
	f.Add([]byte("Received: a\r\n\tb\r\nA: c\r\n\r\nReceived: d\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var at int64
		received := 0
		for fd, err := range message.Fields(bytes.NewReader(in), int64(len(in)), 1<<30) {
			if err != nil {
				t.Fatal(err)
			}
			if fd.Off != at || fd.Len < 2 || fd.Off+fd.Len > int64(len(in)) || !bytes.HasPrefix(in[fd.Off:], []byte(fd.Name)) {
				t.Fatalf("%q: field %+v after %d", in, fd, at)
			}
			at += fd.Len
			if strings.EqualFold(fd.Name, "Received") {
				received++
			}
		}
		var s message.Scan
		_, _ = s.Write(in[:at])
		if s.Received != received {
			t.Fatalf("%q: Scan counts %d Received, Fields %d", in, s.Received, received)
		}
	})
}
