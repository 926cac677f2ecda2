package pop3d

import "bytes"

// topCut ends a message behind its header and some lines more. A message without an empty line is all header.
type topCut struct {
	lines int64 // still to come behind the header
	body  bool
	mid   bool // inside a line, where a CR alone does not count
}

// take returns how much of the next block is to be sent, and whether that was the end.
func (t *topCut) take(block []byte) (part []byte, end bool) {
	for at := 0; at < len(block); {
		i := bytes.IndexByte(block[at:], '\n')
		line := block[at:]
		if i >= 0 {
			line = line[:i]
		}
		t.mid = t.mid || len(bytes.TrimRight(line, "\r")) > 0
		if i < 0 {
			return block, false
		}
		at += i + 1
		empty := !t.mid
		t.mid = false
		switch {
		case t.body:
			t.lines--
		case empty:
			t.body = true
		}
		if t.body && t.lines <= 0 {
			return block[:at], true
		}
	}
	return block, false
}
