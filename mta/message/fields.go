package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// ErrHeaderTooLong says that the header goes on beyond the caller's limit.
var ErrHeaderTooLong = errors.New("header too long")

// maxName bounds a field's name; RFC 5322 2.1.1 allows no longer line than 998.
const maxName = 998

// Field is one header field: its name as it stands there, and the octets from the name to the end of its last line,
// folded lines (RFC 5322 2.2.3) and line end included.
type Field struct {
	Name string
	Off  int64
	Len  int64
}

// Fields goes through the header of the message of size octets in r, whose lines end in CR LF or LF. It ends before the
// empty line, or before the first line that is no field: there the body begins. A header of more than limit octets
// ends with ErrHeaderTooLong, a failed read with r's error. Its memory does not grow with the header.
func Fields(r io.ReaderAt, size, limit int64) iter.Seq2[Field, error] {
	return func(yield func(Field, error) bool) {
		s := scanner{br: bufio.NewReader(io.NewSectionReader(r, 0, size))}
		var f Field
		for {
			line, err := s.next()
			if err != nil && err != io.EOF {
				yield(Field{}, err)
				return
			}
			if line.fold && f.Name != "" && err == nil {
				f.Len += line.size
			} else {
				if f.Name != "" && !yield(f, nil) {
					return
				}
				if err == io.EOF || line.name == "" {
					return
				}
				f = Field{line.name, s.off - line.size, line.size}
			}
			if s.off > limit {
				yield(Field{}, ErrHeaderTooLong)
				return
			}
		}
	}
}

type scanner struct {
	br  *bufio.Reader
	off int64
}

type headerLine struct {
	name string // "" for what is no first line of a field
	fold bool
	size int64
}

// next reads one line of any length, of which it keeps only the name.
func (s *scanner) next() (headerLine, error) {
	var l headerLine
	for first := true; ; first = false {
		b, err := s.br.ReadSlice('\n')
		l.size += int64(len(b))
		s.off += int64(len(b))
		if first && len(b) > 0 {
			l.fold = (b[0] == ' ' || b[0] == '\t')
			l.name = fieldName(b)
		}
		switch {
		case err == nil, err == io.EOF && l.size > 0:
			return l, nil
		case err != bufio.ErrBufferFull:
			return l, err
		}
	}
}

// fieldName returns what stands before the colon: printable ASCII without blanks (RFC 5322 2.2), with blanks before the
// colon allowed (4.5.8). "" when the line is no field.
func fieldName(line []byte) string {
	i := bytes.IndexByte(line[:min(len(line), maxName)], ':')
	if i < 1 {
		return ""
	}
	name := bytes.TrimRight(line[:i], " \t")
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return string(name)
}
