package pop3d

import "io"

// topReader reads a message to the end of its header and lines lines more. A message without an empty line is all header.
type topReader struct {
	r     io.Reader
	lines int64 // still to come behind the header
	body  bool
	mid   bool // inside a line, where a CR alone does not count
	done  bool
}

func (t *topReader) Read(p []byte) (int, error) {
	if t.done {
		return 0, io.EOF
	}
	n, err := t.r.Read(p)
	for i, c := range p[:n] {
		if t.take(c) {
			t.done = true
			return i + 1, nil
		}
	}
	return n, err
}

// take looks at one octet and says whether it is the last.
func (t *topReader) take(c byte) bool {
	if c != '\n' {
		t.mid = t.mid || c != '\r'
		return false
	}
	empty := !t.mid
	t.mid = false
	switch {
	case t.body:
		t.lines--
	case empty:
		t.body = true
	}
	return t.body && t.lines <= 0
}
