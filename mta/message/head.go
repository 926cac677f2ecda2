package message

import (
	"bytes"

	"github.com/posthouse-mail/posthouse/mta"
)

// Bounds of what Head remembers.
const (
	maxFrom = 16 << 10 // octets of a From field
	maxBcc  = 100      // fields
)

// Head looks at a content that is written through it, in pieces cut anywhere, for what a submission server may have to
// mend (RFC 6409 8): what of the header is missing, who it says the author is, and where its Bcc fields stand. The header
// ends where Fields ends it. The zero Head is ready; what it found is whole after End.
type Head struct {
	Date, MessageID bool
	From            []string    // the values of the From fields, unfolded; the first two
	Bcc             []mta.Range // Bcc and Resent-Bcc fields; neighbours are one range
	TooMuch         bool        // a From field of more than 16 KB, or more than 100 places with Bcc
	Broken          bool        // the header ends at a line that is neither empty nor a field: readers disagree on where

	off   int64
	part  headPart
	name  [12]byte // of the line, in lower case; longer names say nothing
	len   int      // of the name
	n     int      // octets of the line so far: the name, and blanks behind it
	field string   // the current one, "" before the first
	start int64    // of it
	text  []byte   // of a From field
}

type headPart uint8

const (
	headName  headPart = iota // in a line's name, or before its first octet
	headValue                 // behind the colon
	headBody                  // the header is over
)

// Write implements io.Writer and never fails.
func (h *Head) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && h.part != headBody; {
		n := 1
		if h.part == headValue {
			n = h.value(rest)
		} else {
			h.octet(rest[0])
		}
		h.off += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// value takes the rest of a line, and returns how many octets it has.
func (h *Head) value(rest []byte) int {
	n := len(rest)
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		n = i + 1
		h.part, h.n, h.len = headName, 0, 0
	}
	if h.field == "from" {
		h.text = append(h.text, rest[:min(n, maxFrom+1-len(h.text))]...)
	}
	return n
}

// octet takes one octet of a line's beginning.
func (h *Head) octet(c byte) {
	white := c == ' ' || c == '\t'
	switch {
	case white && h.n == 0 && h.field != "":
		h.part = headValue // a folded line
		if h.field == "from" && len(h.text) <= maxFrom {
			h.text = append(h.text, ' ')
		}
	case c == ':' && h.n > 0:
		h.begin()
	case white && h.n > 0:
		h.n++
	case c <= ' ' || c > '~' || c == ':' || h.n > h.len:
		h.finish(h.off - int64(h.n))
		h.part = headBody
		h.Broken = h.n > 0 || c != '\r' && c != '\n'
		return
	default:
		if h.len < len(h.name) {
			h.name[h.len] = lower(c)
		}
		h.n++
		h.len++
	}
	if h.n >= maxName && h.part == headName {
		h.finish(h.off + 1 - int64(h.n))
		h.part, h.Broken = headBody, true
	}
}

// begin is called at the colon.
func (h *Head) begin() {
	start := h.off - int64(h.n)
	h.finish(start)
	h.start, h.part = start, headValue
	h.field = "other"
	if h.len <= len(h.name) {
		h.field = string(h.name[:h.len])
	}
}

// finish notes the field that ends before the octet at end.
func (h *Head) finish(end int64) {
	switch h.field {
	case "date":
		h.Date = true
	case "message-id":
		h.MessageID = true
	case "from":
		h.TooMuch = h.TooMuch || len(h.text) > maxFrom
		if len(h.From) < 2 {
			h.From = append(h.From, unfold(h.text))
		}
		h.text = h.text[:0]
	case "bcc", "resent-bcc":
		if n := len(h.Bcc); n > 0 && h.Bcc[n-1].Off+h.Bcc[n-1].Len == h.start {
			h.Bcc[n-1].Len = end - h.Bcc[n-1].Off
		} else if n < maxBcc {
			h.Bcc = append(h.Bcc, mta.Range{Off: h.start, Len: end - h.start})
		} else {
			h.TooMuch = true
		}
	}
	h.field = ""
}

// End is called behind the last octet of the content.
func (h *Head) End() {
	if h.part == headValue || h.part == headName && h.n == 0 {
		h.finish(h.off)
	} else if h.part == headName {
		h.finish(h.off - int64(h.n))
		h.Broken = true
	}
	h.part = headBody
}

// unfold joins the lines of a field's value (RFC 5322 2.2.3).
func unfold(b []byte) string {
	return string(bytes.TrimSpace(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), nil), []byte("\n"), nil)))
}
