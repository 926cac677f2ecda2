package local

import (
	"bytes"
	"io"
	"sync"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// blockSize is how much is converted and written at once.
const blockSize = 64 << 10

// source is the rendered message as it stands in a mailbox: trace fields of the last delivery in front (RFC 5321 4.4),
// LF line ends.
type source struct {
	head    string
	env     *mta.Envelope
	content io.ReaderAt
	done    bool // the content is all of it, and in this form
}

func newSource(r Request) source {
	if r.Rendered {
		return source{"", r.Envelope, r.Content, true}
	}
	head := "Return-Path: <" + r.ReturnPath.String() + ">\nDelivered-To: " + r.DeliveredTo.String() + "\n"
	return source{head, r.Envelope, r.Content, false}
}

var blocks = sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }}

// Render writes the message of a request as it is to stand in a mailbox.
func Render(w io.Writer, r Request) error {
	_, err := newSource(r).WriteTo(w)
	return err
}

// WriteTo writes the whole message, a block at a time; it can be called again.
func (s source) WriteTo(w io.Writer) (written int64, err error) {
	if s.done {
		return io.Copy(w, io.NewSectionReader(s.content, 0, s.env.Size))
	}
	block := blocks.Get().(*[]byte)
	defer blocks.Put(block)
	buf := *block
	m := message.NewReader(s.env.Prepend, s.env.Cut, s.content, s.env.Size)
	head := s.head
	n := copy(buf, head) // an address is far shorter than a block
	for done := false; !done; {
		got, rerr := m.Read(buf[n:])
		done = rerr == io.EOF
		if rerr != nil && !done {
			return written, rerr
		}
		from := max(n-1, 0) // a CR may have been the last octet before
		n = from + toLF(buf[from:n+got])
		keep := 0
		if !done && n > 0 && buf[n-1] == '\r' {
			keep = 1
		}
		if done || n >= blockSize/2 {
			out, err := w.Write(buf[:n-keep])
			written += int64(out)
			if err != nil {
				return written, err
			}
			n = copy(buf, buf[n-keep:n])
		}
	}
	return written, nil
}

// toLF makes each CR LF in b an LF, in place, and returns the length; a CR that stands alone stays.
func toLF(b []byte) int {
	out, rest := 0, b
	for {
		i := bytes.Index(rest, crlf)
		if i < 0 {
			return out + copy(b[out:], rest)
		}
		out += copy(b[out:], rest[:i])
		b[out] = '\n'
		out++
		rest = rest[i+2:]
	}
}

var crlf = []byte("\r\n")
