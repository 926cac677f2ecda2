package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// maxHeader bounds a header that is looked into; a longer one passes as it is, and with -t it is refused.
const maxHeader = 1 << 20

// header is what was read in front of a message.
type header struct {
	fields []field
	body   int64 // where it begins: at the empty line, or at a first line that is no field
	blank  bool  // there is an empty line
	long   bool  // it goes on beyond maxHeader: nothing is known of it
}

type field struct {
	name string // in lower case
	raw  string // from the name to the last line end
}

// addressed are the fields whose addresses get this machine's name where they have no domain.
var addressed = []string{
	"from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc", "resent-bcc",
}

// readHeader reads the header of a message. A line "From " in front of it is an mbox's and no part of the message.
func readHeader(s *store) (*header, error) {
	start, err := mboxLine(s)
	if err != nil {
		return nil, err
	}
	h := &header{body: start}
	in := io.NewSectionReader(s, start, s.size-start)
	for f, err := range message.Fields(in, s.size-start, maxHeader) {
		if errors.Is(err, message.ErrHeaderTooLong) {
			return &header{body: start, long: true}, nil
		}
		if err != nil {
			return nil, stored(err)
		}
		raw := make([]byte, f.Len)
		if _, err := in.ReadAt(raw, f.Off); err != nil && err != io.EOF {
			return nil, stored(err)
		}
		h.fields = append(h.fields, field{strings.ToLower(f.Name), string(raw)})
		h.body = start + f.Off + f.Len
	}
	end := make([]byte, 2)
	n, err := s.ReadAt(end, h.body)
	if err != nil && err != io.EOF {
		return nil, stored(err)
	}
	h.blank = string(end[:n]) == "\r\n"
	return h, nil
}

func mboxLine(s *store) (int64, error) {
	line := make([]byte, 1000)
	n, err := s.ReadAt(line, 0)
	if err != nil && err != io.EOF {
		return 0, stored(err)
	}
	line = line[:n]
	end := bytes.Index(line, []byte("\r\n"))
	if end < 0 || !bytes.HasPrefix(bytes.TrimPrefix(line, []byte(">")), []byte("From ")) {
		return 0, nil
	}
	return int64(end + 2), nil
}

// value is what stands behind the colon, line ends and all.
func (f field) value() string { return f.raw[strings.IndexByte(f.raw, ':')+1:] }

func (h *header) has(name string) bool {
	return slices.ContainsFunc(h.fields, func(f field) bool { return f.name == name })
}

// recipients are those that -t finds: To, Cc and Bcc, or their Resent- sisters where the message is sent again (RFC 5322
// 3.6.6), of the newest such block.
func (h *header) recipients() ([]string, error) {
	names, seen := []string{"to", "cc", "bcc"}, map[string]bool{}
	again := slices.ContainsFunc(h.fields, func(f field) bool {
		return slices.Contains([]string{"resent-to", "resent-cc", "resent-bcc"}, f.name)
	})
	var all []string
	for _, f := range h.fields {
		name, resent := strings.CutPrefix(f.name, "resent-")
		if again && resent && seen[name] {
			break
		}
		seen[name] = seen[name] || resent
		if again != resent || !slices.Contains(names, name) {
			continue
		}
		list, err := parseList(f.value())
		if err != nil {
			return nil, failure(exitDataErr, "field %s: %w", f.name, err)
		}
		for _, a := range list {
			all = append(all, a.text)
		}
	}
	return all, nil
}

// completed gives the addresses of a field that have no domain this machine's. What is no list of addresses stays.
func completed(f field, origin string) string {
	if !slices.Contains(addressed, f.name) {
		return f.raw
	}
	list, err := parseList(f.value())
	if err != nil {
		return f.raw
	}
	var b strings.Builder
	v := f.value()
	b.WriteString(f.raw[:len(f.raw)-len(v)])
	done := 0
	for _, a := range list {
		if !a.domain && a.text != "" {
			b.WriteString(v[done:a.end] + "@" + origin)
			done = a.end
		}
	}
	b.WriteString(v[done:])
	return b.String()
}

// render writes the header as it is sent. smtpd adds what is missing of Date and Message-ID, and takes Bcc out; of From it
// would not know the name.
func (h *header) render(origin, name string, author mta.Address, warning string) string {
	var b strings.Builder
	b.WriteString(warning)
	if h.long {
		return b.String()
	}
	if !h.has("from") {
		name = strings.Map(func(c rune) rune {
			if c < ' ' || c == 0x7f { // who decodes it would have lines of it
				return ' '
			}
			return c
		}, name)
		from := mail.Address{Name: name, Address: author.String()}
		fmt.Fprintf(&b, "From: %s\r\n", strings.ReplaceAll(from.String(), "?= =?", "?=\r\n =?"))
	}
	for _, f := range h.fields {
		b.WriteString(completed(f, origin))
	}
	if !h.blank {
		b.WriteString("\r\n")
	}
	return b.String()
}
