package message

import (
	"bytes"
	"encoding/binary"
)

// Scan looks at a content that is written through it, in pieces cut anywhere: how many Received fields its header has
// (RFC 5321 6.3: the count finds loops), whether it has octets beyond ASCII (RFC 6152), and what it begins with. The zero Scan
// is ready.
type Scan struct {
	Received int
	EightBit bool
	Folded   bool // it begins with a folded line, which would go on whatever field is put in front of it

	some bool // its first octet was seen
	body bool // the empty line was seen
	n    int  // octets of the line that are like "received:" so far
	skip bool // the rest of this line says nothing
}

// Write implements io.Writer and never fails.
func (s *Scan) Write(p []byte) (int, error) {
	if !s.EightBit {
		s.EightBit = hasHighBit(p)
	}
	if !s.some && len(p) > 0 {
		s.some, s.Folded = true, p[0] == ' ' || p[0] == '\t'
	}
	for rest := p; !s.body && len(rest) > 0; {
		if s.skip {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			s.skip, s.n = false, 0
			rest = rest[i+1:]
			continue
		}
		s.octet(rest[0])
		rest = rest[1:]
	}
	return len(p), nil
}

// octet takes the next octet of a line's beginning, until the line is known.
func (s *Scan) octet(c byte) {
	const want = "received:"
	switch {
	case c == '\n':
		s.body = s.n == 0
		s.n = 0
	case c == '\r' && s.n == 0: // of the empty line, or a fault that is refused anyway
	case (c == ' ' || c == '\t') && s.n == len(want)-1: // RFC 5322 4.5.8: blanks before the colon
	case lower(c) != want[s.n]:
		s.skip, s.n = true, 1
	default:
		s.n++
		if s.n == len(want) {
			s.Received++
			s.skip = true
		}
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func hasHighBit(p []byte) bool {
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p)&0x8080808080808080 != 0 {
			return true
		}
		p = p[8:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
