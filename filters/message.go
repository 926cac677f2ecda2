package filters

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/textproto"
	"os"
	"strings"
)

// Message is the message as it would be delivered now, with what the filters before have changed. Bcc recipients and
// logins are not in it.
type Message struct {
	ID string // in the queue

	path       string
	size       int64
	headerSize int64
	prepend    string
	cuts       []span
	bodyPath   string
}

type span struct{ off, size int64 }

// Field is one header field. Raw has it as it stands there, with its folded lines and line end; Value is unfolded.
type Field struct{ Name, Value, Raw string }

// errNoContent is for a filter that said EnvelopeOnly.
var errNoContent = errors.New("the message was not asked for: Describe says EnvelopeOnly")

// maxHeader bounds Header: smtpd takes no more.
const maxHeader = 4 << 20

// Size is the whole message's, octets.
func (m *Message) Size() int64 {
	n := int64(len(m.prepend)) + m.size
	for _, c := range m.cuts {
		n -= c.size
	}
	return n
}

// Open returns a reader over the whole message, to be closed.
func (m *Message) Open() (io.ReadCloser, error) {
	if m.path == "" {
		return nil, errNoContent
	}
	f, err := os.Open(m.path)
	if err != nil {
		return nil, err
	}
	parts := []io.Reader{strings.NewReader(m.prepend)}
	at := int64(0)
	for _, c := range append(m.cuts[:len(m.cuts):len(m.cuts)], span{m.size, 0}) {
		if c.off > at {
			parts = append(parts, io.NewSectionReader(f, at, c.off-at))
		}
		at = c.off + c.size
	}
	return opened{io.MultiReader(parts...), f}, nil
}

type opened struct {
	io.Reader
	io.Closer
}

// Header returns the header's fields in their order.
func (m *Message) Header() ([]Field, error) {
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var fields []Field
	var raw strings.Builder
	flush := func() {
		if name, value, ok := strings.Cut(raw.String(), ":"); ok {
			fields = append(fields, Field{strings.TrimRight(name, " \t"), unfold(value), raw.String()})
		}
		raw.Reset()
	}
	br := bufio.NewReader(io.LimitReader(r, maxHeader))
	for {
		line, err := br.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		folded := line != "" && (line[0] == ' ' || line[0] == '\t')
		if !folded || raw.Len() == 0 {
			flush()
		}
		if !folded && !isField(line) {
			return fields, nil // the empty line, or a body without one
		}
		raw.WriteString(line)
		if err == io.EOF {
			flush()
			return fields, nil
		}
	}
}

func isField(line string) bool {
	name, _, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	return ok && name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

func unfold(value string) string {
	value = strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", ""), "\n", "")
	return strings.TrimSpace(value)
}

// Get returns the value of the first field of that name, "" where there is none.
func Get(fields []Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// MIMEHeader returns the fields in the form that net/mail and mime/multipart know.
func MIMEHeader(fields []Field) textproto.MIMEHeader {
	h := textproto.MIMEHeader{}
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

// Body returns a reader over the body, to be closed.
func (m *Message) Body() (io.ReadCloser, error) {
	if m.path == "" {
		return nil, errNoContent
	}
	f, err := os.Open(m.path)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(io.NewSectionReader(f, m.headerSize, m.size-m.headerSize))
	for _, end := range []string{"\r\n", "\n"} {
		if b, _ := r.Peek(len(end)); bytes.Equal(b, []byte(end)) {
			_, _ = r.Discard(len(end)) // they are in the buffer
			break
		}
	}
	return opened{r, f}, nil
}
