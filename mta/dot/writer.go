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
	w    io.Writer
	lf   bool // the content's line ends are LF
	buf  []byte
	cr   bool // NewWriter only: a CR was taken and not yet written
	mid  bool // inside a line: its first octet was written
	last byte // NewWriterLF only: the last octet that was taken
	err  error
}

// NewWriter returns a Writer for a content with CR LF line ends, as the spool has it. A bare CR or LF in it is written
// as CR LF: a receiver that took it for a line end could otherwise see an end of data that we did not write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, buf: make([]byte, 0, writerBuffer)} }

// NewWriterLF returns a Writer for a content with LF line ends, as a Maildir has it. An LF becomes CR LF, a CR LF stays,
// any other CR goes out as it is.
func NewWriterLF(w io.Writer) *Writer {
	return &Writer{w: w, lf: true, buf: make([]byte, 0, writerBuffer)}
}

// Write takes the next octets of the content. Line ends and dots may be cut anywhere between two calls. An error of the
// underlying writer stays.
func (d *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && d.err == nil; {
		line := rest
		i := bytes.IndexByte(rest, '\n')
		if i >= 0 {
			line = rest[:i]
		}
		if d.lf {
			d.putLF(line, i >= 0)
		} else {
			d.putCRLF(line, i >= 0)
		}
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

// putCRLF writes a piece of a line, and its end when an LF was behind it.
func (d *Writer) putCRLF(line []byte, end bool) {
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

// putLF is putCRLF for LF line ends.
func (d *Writer) putLF(line []byte, end bool) {
	if len(line) > 0 {
		d.text(line)
		d.last = line[len(line)-1]
	}
	if !end {
		return
	}
	if d.last == '\r' && d.mid {
		d.put([]byte{'\n'})
		d.mid = false
	} else {
		d.newline()
	}
	d.last = '\n'
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

// WireSize returns how many octets NewWriterLF makes of the content of r, stuffed dots and the last line of a dot not
// counted: the size that POP3 states (RFC 1939 11). An error is r's.
func WireSize(r io.Reader) (int64, error) {
	var size int64
	var last byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				size += int64(len(rest))
				last = rest[len(rest)-1]
				break
			}
			if i > 0 {
				last = rest[i-1]
			}
			size += int64(i) + 1
			if last != '\r' {
				size++
			}
			last = '\n'
			rest = rest[i+1:]
		}
		if err == io.EOF {
			if size > 0 && last != '\n' {
				size += 2
			}
			return size, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
