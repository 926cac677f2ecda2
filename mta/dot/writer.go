package dot

import (
	"bytes"
	"io"
)

// writerBuffer is enough for one write to carry a usual message whole.
const writerBuffer = 8 << 10

// Writer writes a content in its form on the wire: dots stuffed and, at Close, the line of a single dot. It collects
// small writes. It is for one goroutine. The underlying writer is neither flushed nor closed.
type Writer struct {
	w   io.Writer
	buf []byte
	cr  bool // a CR was taken and not yet written
	mid bool // inside a line: its first octet was written
	err error
}

// NewWriter returns a Writer for a content with CR LF line ends, as the spool has it. A bare CR or LF in it is written
// as CR LF: a receiver that took it for a line end could otherwise see an end of data that we did not write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, buf: make([]byte, 0, writerBuffer)} }

// Write takes the next octets of the content. Line ends and dots may be cut anywhere between two calls. An error of the
// underlying writer stays.
func (d *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && d.err == nil; {
		line := rest
		i := bytes.IndexByte(rest, '\n')
		if i >= 0 {
			line = rest[:i]
		}
		d.putLine(line, i >= 0)
		rest = rest[len(line):]
		if i >= 0 {
			rest = rest[1:]
		}
	}
	if d.err != nil {
		return 0, d.err
	}
	return len(p), nil
}

// putLine writes a piece of a line, and its end when an LF was behind it.
func (d *Writer) putLine(line []byte, end bool) {
	for len(line) > 0 {
		if d.cr {
			d.cr = false
			d.newline()
		}
		i := bytes.IndexByte(line, '\r')
		if i < 0 {
			d.text(line)
			break
		}
		d.text(line[:i])
		d.cr = true
		line = line[i+1:]
	}
	if end {
		d.cr = false
		d.newline()
	}
}

// text writes octets without an LF, stuffing a dot at the start of a line.
func (d *Writer) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if !d.mid && b[0] == '.' {
		d.put([]byte{'.'})
	}
	d.mid = true
	d.put(b)
}

func (d *Writer) newline() {
	d.put([]byte{'\r', '\n'})
	d.mid = false
}

func (d *Writer) put(b []byte) {
	if len(d.buf)+len(b) > cap(d.buf) {
		d.flush()
	}
	if len(b) >= cap(d.buf) {
		d.write(b)
		return
	}
	d.buf = append(d.buf, b...)
}

func (d *Writer) flush() {
	if len(d.buf) > 0 {
		d.write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *Writer) write(b []byte) {
	if d.err == nil {
		_, d.err = d.w.Write(b)
	}
}

// Close ends the last line where the content did not, and writes the line of a single dot. It never adds an empty line.
func (d *Writer) Close() error {
	if d.mid || d.cr {
		d.newline()
	}
	d.put([]byte(".\r\n"))
	d.flush()
	return d.err
}
