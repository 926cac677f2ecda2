package policy

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
)

// Bounds of what is read of a message's parts.
const (
	maxDepth = 16
	maxParts = 500
)

// parts are the names and types of a message's parts, of the message itself too.
type parts struct {
	names, types []string
	left         int
}

// partsOf walks through a message. Where it is malformed what was found before counts, and what its fields say.
func partsOf(e *filters.Event, header []filters.Field) (parts, error) {
	p := parts{left: maxParts}
	body, err := e.Message.Body()
	if err != nil {
		return p, err
	}
	defer body.Close()
	p.walk(filters.MIMEHeader(header), bufio.NewReader(body), 0)
	return p, nil
}

func (p *parts) walk(h textproto.MIMEHeader, body io.Reader, depth int) {
	if p.left--; p.left < 0 || depth > maxDepth {
		return
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		kind, _, _ = strings.Cut(h.Get("Content-Type"), ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	if kind == "" {
		kind = "text/plain"
	}
	p.types = append(p.types, kind)
	p.name(h.Get("Content-Type"), "name", params)
	_, disposition, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	p.name(h.Get("Content-Disposition"), "filename", disposition)
	switch {
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] != "":
		r := multipart.NewReader(body, params["boundary"])
		for p.left > 0 {
			part, err := r.NextRawPart()
			if err != nil {
				return
			}
			p.walk(part.Header, part, depth+1)
		}
	case kind == "message/rfc822" || kind == "message/global":
		br := bufio.NewReader(body)
		if m, err := mail.ReadMessage(br); err == nil {
			p.walk(textproto.MIMEHeader(m.Header), m.Body, depth+1)
		}
	}
}

// name takes a part's name: the parameter, or where the field breaks the grammar what a mail program may still read in it.
func (p *parts) name(field, key string, params map[string]string) {
	if n := params[key]; n != "" {
		p.names = append(p.names, decoded(n))
		return
	}
	for _, m := range sloppy[key].FindAllStringSubmatch(field, -1) {
		p.names = append(p.names, decoded(strings.Trim(m[1], " \t\"'")))
	}
}

var sloppy = map[string]*regexp.Regexp{
	"name":     regexp.MustCompile(`(?i)(?:^|[;\s])name\*?[0-9]*\*?\s*=\s*("[^"]*"?|[^;]*)`),
	"filename": regexp.MustCompile(`(?i)(?:^|[;\s])filename\*?[0-9]*\*?\s*=\s*("[^"]*"?|[^;]*)`),
}

// decoded is a text whose encoded words are decoded, as far as their character sets are known (RFC 2047).
func decoded(s string) string {
	d := mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }}
	if out, err := d.DecodeHeader(s); err == nil {
		return out
	}
	return s
}
