package host

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// Bounds of a header that filters see, octets.
const (
	maxHeader     = 1 << 20 // of the message as it came
	maxOwn        = 1 << 20 // of what filters add, all together
	maxFieldValue = 64 << 10
	maxFieldLine  = 998 // RFC 5322 2.1.1
)

// maxFields bounds the fields of a message as it came: each takes more memory here than the four octets of the shortest.
const maxFields = 20_000

var (
	errHeaderTooLong = errors.New("header longer than 1 MB")
	errManyFields    = errors.New("header of more than 20000 fields")
)

// field is one header field: of the content, or with a text of our own.
type field struct {
	name string
	off  int64
	size int64
	text string // "" = of the content
}

// header is the fields of a message in their order, while filters edit it.
type header struct {
	fields []field
	size   int64 // of the content's header
}

// readHeader takes what stands in front, and the content's own fields behind it.
func readHeader(prepend string, content io.ReaderAt, size int64) (*header, error) {
	h := &header{}
	for f, err := range message.Fields(strings.NewReader(prepend), int64(len(prepend)), int64(len(prepend))) {
		if err != nil {
			return nil, err
		}
		h.fields = append(h.fields, field{name: f.Name, text: prepend[f.Off : f.Off+f.Len]})
	}
	for f, err := range message.Fields(content, size, maxHeader) {
		if errors.Is(err, message.ErrHeaderTooLong) {
			return nil, errHeaderTooLong
		}
		if err != nil {
			return nil, err
		}
		if len(h.fields) >= maxFields {
			return nil, errManyFields
		}
		h.fields = append(h.fields, field{name: f.Name, off: f.Off, size: f.Len})
		h.size = f.Off + f.Len
	}
	return h, nil
}

func (h *header) clone() *header { return &header{slices.Clone(h.fields), h.size} }

// find returns the place of the index-th field of a name, from 1; -1 where there is none.
func (h *header) find(name string, index uint32) int {
	n := uint32(0)
	for i, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			if n++; n == index {
				return i
			}
		}
	}
	return -1
}

func (h *header) add(name, value string, bottom bool) error {
	f, err := ownField(name, value)
	if err != nil {
		return err
	}
	if bottom {
		h.fields = append(h.fields, f)
	} else {
		h.fields = slices.Insert(h.fields, 0, f)
	}
	own := 0
	for _, f := range h.fields {
		own += len(f.text)
	}
	if own > maxOwn {
		return errors.New("filters add more than 1 MB to the header")
	}
	return nil
}

func (h *header) replace(name string, index uint32, value string) error {
	if i := h.find(name, max(index, 1)); i >= 0 {
		f, err := ownField(h.fields[i].name, value)
		if err == nil {
			h.fields[i] = f
		}
		return err
	}
	return h.add(name, value, false)
}

func (h *header) remove(name string, index uint32) {
	if index > 0 {
		if i := h.find(name, index); i >= 0 {
			h.fields = slices.Delete(h.fields, i, i+1)
		}
		return
	}
	h.fields = slices.DeleteFunc(h.fields, func(f field) bool { return strings.EqualFold(f.name, name) })
}

// ownField checks a name (RFC 5322 2.2) and a value, which may be folded (2.2.3) and hold octets
// beyond ASCII: UTF-8 (RFC 6532), or what the message had there before.
func ownField(name, value string) (field, error) {
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return field{}, fmt.Errorf("%q is no name for a header field", oneLine(name, 40))
	}
	if len(value) > maxFieldValue {
		return field{}, fmt.Errorf("the field %s has more than %d octets", name, maxFieldValue)
	}
	value = strings.ReplaceAll(value, "\r\n", "\n")
	if strings.ContainsAny(value, "\r\x00") {
		return field{}, fmt.Errorf("the field %s has a CR or NUL in its value", name)
	}
	text := name + ":"
	if value == "" || value[0] != ' ' && value[0] != '\t' && value[0] != '\n' {
		text += " "
	}
	text += value
	for i, line := range strings.Split(text, "\n") {
		if i > 0 && (line == "" || line[0] != ' ' && line[0] != '\t' || strings.TrimSpace(line) == "") {
			return field{}, fmt.Errorf("the field %s has a line end without a folded line behind it", name)
		}
		if len(line) > maxFieldLine {
			return field{}, fmt.Errorf("the field %s has a line of more than %d octets: fold it", name, maxFieldLine)
		}
	}
	return field{name: name, text: strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"}, nil
}

// render returns the message as it is now: what stands in front of the content, and what is cut out of that. Up to the
// last field that is not the content's, all goes in front.
func (h *header) render(content io.ReaderAt) (string, []mta.Range, error) {
	last := len(h.fields)
	for last > 0 && h.fields[last-1].text == "" {
		last--
	}
	var b strings.Builder
	for _, f := range h.fields[:last] {
		if f.text != "" {
			b.WriteString(f.text)
			continue
		}
		if _, err := io.Copy(&b, io.NewSectionReader(content, f.off, f.size)); err != nil {
			return "", nil, err
		}
		if !strings.HasSuffix(b.String(), "\n") { // the last line of a content that ends in its header
			b.WriteString("\r\n")
		}
	}
	var cuts []mta.Range
	at := int64(0)
	for _, f := range h.fields[last:] {
		if f.off > at {
			cuts = append(cuts, mta.Range{Off: at, Len: f.off - at})
		}
		at = f.off + f.size
	}
	if h.size > at {
		cuts = append(cuts, mta.Range{Off: at, Len: h.size - at})
	}
	return b.String(), cuts, nil
}
