package dot

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// Fault is a set of things that a content must not have (RFC 5321 2.3.8, 4.5.2 and RFC 5322 2.3).
type Fault uint8

// The faults that a Reader finds. A repaired one is no fault.
const (
	BareCR   Fault = 1 << iota // a CR without an LF behind it
	BareLF                     // an LF without a CR before it
	NUL                        // an octet of value 0
	LongLine                   // a line over ReaderOptions.MaxLine
)

// String names the faults, as a reply may show them: "bare CR, NUL".
func (f Fault) String() string {
	var s []string
	for i, name := range [...]string{"bare CR", "bare LF", "NUL", "line too long"} {
		if f&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, ", ")
}

// ReaderOptions say how strict a Reader is.
type ReaderOptions struct {
	MaxLine  int  // octets of a line with its CR LF, the stuffed dot not counted; 0 = no bound
	RepairLF bool // a bare LF becomes CR LF instead of a fault
	RepairCR bool // a bare CR becomes CR LF instead of a fault
}

// Reader reads the content that follows the DATA command: CR LF line ends, dots unstuffed. After CR LF "." CR LF it
// returns io.EOF and has taken nothing beyond from the stream. Faults do not stop it: the caller reads on to the end,
// so that the dialogue stays in step, and then refuses the message. It is for one goroutine.
type Reader struct {
	br    *bufio.Reader
	o     ReaderOptions
	state state
	fault Fault
	line  int    // octets of the current line so far
	pend  []byte // what did not fit into the caller's buffer: at most CR LF
	room  [2]byte
	err   error

	chunked bool  // dots are nothing special, and there is no end but that of the chunk
	left    int64 // octets of the chunk that are still to come
}

type state uint8

const (
	lineStart  state = iota // behind a CR LF, or at the very beginning
	inLine                  // also behind a repaired or faulty line end: no dot is special there
	afterCR                 // a CR was read and not yet given out
	afterDot                // a dot at the start of a line was read
	afterDotCR              // and a CR behind it
	ended
)

// NewReader returns a Reader of the data that begins at br's next octet.
func NewReader(br *bufio.Reader, o ReaderOptions) *Reader { return &Reader{br: br, o: o} }

// Faults returns what was found so far; after io.EOF, in the whole content.
func (r *Reader) Faults() Fault { return r.fault }

// Read gives out what is at hand and waits only when there is nothing. A stream that ends before the data does is
// io.ErrUnexpectedEOF; that and the stream's own errors stay: nothing behind them can be trusted.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := copy(p, r.pend)
	r.pend = r.pend[n:]
	for n < len(p) && !r.over() && r.err == nil && (n == 0 || r.br.Buffered() > 0) {
		if _, err := r.br.Peek(1); err != nil {
			r.err = err
			if err == io.EOF {
				r.err = io.ErrUnexpectedEOF
			}
			break
		}
		src, _ := r.br.Peek(r.br.Buffered())
		if r.chunked {
			src = src[:min(int64(len(src)), r.left)]
		}
		used, made := r.step(p[n:], src)
		if bytes.IndexByte(src[:used], 0) >= 0 {
			r.fault |= NUL
		}
		_, _ = r.br.Discard(used) // cannot fail: it is buffered
		r.left -= int64(used)
		n += made
	}
	switch {
	case n > 0:
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	return 0, io.EOF
}

// over says whether the stream has nothing more for this Reader.
func (r *Reader) over() bool { return r.state == ended || r.chunked && r.left == 0 }

// step moves the machine over src until that or dst is used up, or the data ends.
func (r *Reader) step(dst, src []byte) (used, n int) {
	m := marks{src: src, cr: -1, lf: -1}
	for used < len(src) && n < len(dst) && r.state != ended {
		c := src[used]
		switch r.state {
		case lineStart:
			r.state = inLine
			if c == '.' && !r.chunked {
				r.state = afterDot
				used++
			}
		case afterDot:
			r.state = inLine
			if c == '\r' {
				r.state = afterDotCR
				used++
			}
		case afterDotCR:
			r.state = afterCR // the dot was a stuffed one, unless the line ends here
			if c == '\n' {
				r.state = ended
				used++
			}
		case afterCR:
			if c == '\n' {
				n += r.emit(dst[n:], "\r\n")
				r.state, r.line = lineStart, 0
				used++
			} else {
				n += r.bareCR(dst[n:])
			}
		case inLine:
			run := src[used:min(m.next(used), used+len(dst)-n)]
			n += copy(dst[n:], run)
			used += len(run)
			r.grow(len(run))
			if len(run) > 0 {
				continue
			}
			used++
			if c == '\r' {
				r.state = afterCR
			} else {
				n += r.bareLF(dst[n:])
			}
		}
	}
	return used, n
}

// bareCR leaves the machine inside the line: what follows is neither a stuffed dot nor the end.
func (r *Reader) bareCR(dst []byte) int {
	r.state = inLine
	if r.o.RepairCR {
		n := r.emit(dst, "\r\n")
		r.line = 0
		return n
	}
	r.fault |= BareCR
	return r.emit(dst, "\r")
}

func (r *Reader) bareLF(dst []byte) int {
	if r.o.RepairLF {
		n := r.emit(dst, "\r\n")
		r.line = 0
		return n
	}
	r.fault |= BareLF
	return r.emit(dst, "\n")
}

// emit gives out s, at most two octets; what does not fit waits for the next Read.
func (r *Reader) emit(dst []byte, s string) int {
	r.grow(len(s))
	n := copy(dst, s)
	r.pend = r.room[:copy(r.room[:], s[n:])]
	return n
}

func (r *Reader) grow(n int) {
	r.line += n
	if r.o.MaxLine > 0 && r.line > r.o.MaxLine {
		r.fault |= LongLine
	}
}

// marks finds the next CR or LF and remembers the other one, so that a block is searched once however many of either
// it holds.
type marks struct {
	src    []byte
	cr, lf int
}

func (m *marks) next(from int) int {
	if m.cr < from {
		m.cr = index(m.src, from, '\r')
	}
	if m.lf < from {
		m.lf = index(m.src, from, '\n')
	}
	return min(m.cr, m.lf)
}

func index(b []byte, from int, c byte) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}
