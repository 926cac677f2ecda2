package dot

import (
	"bytes"
	"io"
	"slices"
)

// Stuffer makes the form on the wire of a content with LF line ends, as a Maildir has it: an LF becomes CR LF, a CR LF
// stays, any other CR goes out as it is, and a dot at the start of a line is doubled. The zero Stuffer stands at the
// beginning of a content; blocks may be cut anywhere.
type Stuffer struct {
	mid bool // inside a line: one of its octets was taken
	cr  bool // the last octet was a CR
}

// MaxGrowth is how many octets Append makes of one at the most, and of a whole block not more than one besides.
const MaxGrowth = 2

// Append appends the next block of the content to dst. When dst has room for MaxGrowth times the block and one octet, it
// is not moved.
func (s *Stuffer) Append(dst, block []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, MaxGrowth*len(block)+1)
	dst = dst[:cap(dst)]
	for len(block) > 0 {
		if !s.mid && block[0] == '.' {
			dst[n] = '.'
			n++
		}
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			s.mid, s.cr = true, block[len(block)-1] == '\r'
			return dst[:n+copy(dst[n:], block)]
		}
		n += copy(dst[n:], block[:i])
		if i > 0 {
			s.cr = block[i-1] == '\r'
		}
		if !s.cr {
			dst[n] = '\r'
			n++
		}
		dst[n] = '\n'
		n++
		s.mid, s.cr = false, false
		block = block[i+1:]
	}
	return dst[:n]
}

// End appends what ends the content: the end of its last line, where it has none, and the line of a single dot. The
// Stuffer is at a beginning again.
func (s *Stuffer) End(dst []byte) []byte {
	if s.mid {
		dst = append(dst, '\r', '\n')
	}
	*s = Stuffer{}
	return append(dst, ".\r\n"...)
}

// Growth returns by how much a block grows when each LF without a CR before it becomes CR LF; last is the octet before it.
func Growth(block []byte, last byte) int64 {
	n := bytes.Count(block, lf)
	if bytes.IndexByte(block, '\r') >= 0 {
		n -= bytes.Count(block, crlf)
	}
	if len(block) > 0 && block[0] == '\n' && last == '\r' {
		n--
	}
	return int64(n)
}

var lf, crlf = []byte("\n"), []byte("\r\n")

// WireSize returns how many octets a Stuffer makes of the content of r, stuffed dots and the last line of a dot not
// counted: the size that POP3 states (RFC 1939 11). It reads by way of buf. An error is r's.
func WireSize(r io.Reader, buf []byte) (int64, error) {
	var size int64
	var last byte
	for {
		n, err := r.Read(buf)
		size += int64(n) + Growth(buf[:n], last)
		if n > 0 {
			last = buf[n-1]
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
