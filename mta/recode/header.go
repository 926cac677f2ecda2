package recode

import (
	"bytes"
	"mime"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/message"
)

// header is that of an entity.
type header struct {
	raw    []byte
	fields []field
	rest   []byte // what stands behind the fields: the empty line
	top    bool
	typ    string // in lower case, "" = none is given
	broken bool   // the type is given and cannot be read
	params map[string]string
	cte    string // in lower case, "" = none is given
}

type field struct {
	name string
	raw  []byte // with its line end
}

// value is what stands behind the colon, on one line.
func (f field) value() string {
	_, v, _ := bytes.Cut(f.raw, []byte(":"))
	return strings.TrimSpace(strings.NewReplacer("\r\n", "", "\n", "").Replace(string(v)))
}

func parse(raw []byte, top bool) (*header, error) {
	h := &header{raw: raw, top: top}
	end := int64(0)
	for f, err := range message.Fields(bytes.NewReader(raw), int64(len(raw)), maxHeader) {
		if err != nil {
			return nil, ErrForm
		}
		h.fields = append(h.fields, field{f.Name, raw[f.Off : f.Off+f.Len]})
		end = f.Off + f.Len
	}
	h.rest = raw[end:]
	for _, f := range h.fields {
		switch {
		case strings.EqualFold(f.name, "Content-Type") && h.typ == "" && !h.broken:
			t, params, err := mime.ParseMediaType(f.value())
			h.typ, h.params, h.broken = t, params, err != nil && t == ""
		case strings.EqualFold(f.name, "Content-Transfer-Encoding") && h.cte == "":
			h.cte = strings.ToLower(f.value())
		}
	}
	return h, nil
}

func (h *header) subtype() string {
	_, s, _ := strings.Cut(h.typ, "/")
	return s
}

// multipart says that the body has parts that can be told apart.
func (h *header) multipart() bool {
	n := len(h.params["boundary"])
	return strings.HasPrefix(h.typ, "multipart/") && n > 0 && n <= maxBound && h.identity()
}

// embeds says that the body is a message as it is.
func (h *header) embeds() bool {
	return (h.typ == "message/rfc822" || h.typ == "message/global") && h.identity()
}

// identity says that the body is not encoded (RFC 2045 6.2).
func (h *header) identity() bool {
	return h.cte == "" || h.cte == "7bit" || h.cte == "8bit" || h.cte == "binary"
}

// encoding is what a body with such a shape needs, "" where it may stay, or must: multiparts and messages are never
// encoded (RFC 2045 6.4), save those that RFC 6533 and its like define as text for people's programs.
func (h *header) encoding(n Need, s shape) string {
	if !(n.SevenBit && s.eightBit || s.long) || !h.identity() || h.broken {
		return ""
	}
	switch kind, sub, _ := strings.Cut(h.typ, "/"); {
	case kind == "multipart":
		return ""
	case kind == "message" && !strings.HasPrefix(sub, "global") && sub != "delivery-status" && sub != "disposition-notification":
		return ""
	case kind == "" || kind == "text" || kind == "message":
		return quoted
	}
	return base
}

// render writes the header for a body of a shape.
func (h *header) render(n Need, s shape) ([]byte, error) {
	enc := h.encoding(n, s)
	if enc == "" && n.SevenBit && (h.cte == "8bit" || h.cte == "binary") {
		enc = "7bit" // all that is in it is, now
	}
	var b bytes.Buffer
	mimeVersion, cte := !h.top, enc == ""
	for _, f := range h.fields {
		mimeVersion = mimeVersion || strings.EqualFold(f.name, "MIME-Version")
		switch {
		case enc != "" && strings.EqualFold(f.name, "Content-Transfer-Encoding"):
			if !cte {
				b.WriteString(f.name + ": " + enc + "\r\n")
				cte = true
			}
		case (n.SevenBit || n.ASCII) && !isASCII(f.raw):
			x, err := f.ascii()
			if err != nil {
				return nil, err
			}
			b.WriteString(x)
		default:
			b.Write(f.raw)
		}
	}
	if !cte {
		h.announce(&b, enc, s, mimeVersion)
	}
	if (n.SevenBit || n.ASCII) && !isASCII(h.rest) {
		return nil, ErrForm
	}
	b.Write(h.rest)
	return b.Bytes(), nil
}

// announce adds the fields that an encoded body needs. What has no type was text in the sender's character set: UTF-8
// where it can be, else one that nobody knows (RFC 1428).
func (h *header) announce(b *bytes.Buffer, enc string, s shape, mimeVersion bool) {
	if !mimeVersion {
		b.WriteString("MIME-Version: 1.0\r\n")
	}
	if h.typ == "" {
		charset := "utf-8"
		switch {
		case !s.eightBit:
			charset = "us-ascii"
		case s.notUTF8:
			charset = "unknown-8bit"
		}
		b.WriteString("Content-Type: text/plain; charset=" + charset + "\r\n")
	}
	b.WriteString("Content-Transfer-Encoding: " + enc + "\r\n")
	if len(h.rest) == 0 && len(h.fields) > 0 && !bytes.HasSuffix(h.raw, []byte("\n")) {
		b.WriteString("\r\n")
	}
}
