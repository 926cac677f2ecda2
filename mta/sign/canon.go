package sign

import (
	"bufio"
	"crypto/sha256"
	"hash"
	"strings"
)

// relaxedField is a header field in the relaxed form (RFC 6376 3.4.2), without its line end.
func relaxedField(raw string) string {
	name, value, _ := strings.Cut(raw, ":")
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.Join(strings.FieldsFunc(value, func(c rune) bool {
		return c == ' ' || c == '\t' || c == '\r' || c == '\n'
	}), " ")
}

// canonField is a field in one of the forms, without its line end.
func canonField(raw string, relaxed bool) string {
	if relaxed {
		return relaxedField(raw)
	}
	return strings.TrimSuffix(raw, "\r\n")
}

// bodyHash is the hash of a body in one of the forms of RFC 6376 3.4.3 and 3.4.4. It holds nothing of the body.
type bodyHash struct {
	relaxed bool
	h       hash.Hash
	w       *bufio.Writer
	cr      bool // the last octet was a CR
	blank   bool // blanks were left out
	ends    int  // line ends that were left out
	any     bool
}

func newBodyHash(relaxed bool) *bodyHash {
	h := sha256.New()
	return &bodyHash{relaxed: relaxed, h: h, w: bufio.NewWriterSize(h, 8<<10)}
}

// Write never fails.
func (b *bodyHash) Write(p []byte) (int, error) {
	for _, c := range p {
		if b.cr {
			b.cr = false
			if c == '\n' {
				b.blank = false
				b.ends++
				continue
			}
			b.put('\r')
		}
		switch {
		case c == '\r':
			b.cr = true
		case b.relaxed && (c == ' ' || c == '\t'):
			b.blank = true
		default:
			b.put(c)
		}
	}
	return len(p), nil
}

func (b *bodyHash) put(c byte) {
	for ; b.ends > 0; b.ends-- {
		_, _ = b.w.WriteString("\r\n") // into a hash
	}
	if b.blank {
		_ = b.w.WriteByte(' ')
		b.blank = false
	}
	_ = b.w.WriteByte(c)
	b.any = true
}

// sum ends the body.
func (b *bodyHash) sum() []byte {
	if b.cr {
		b.cr = false
		b.put('\r')
	}
	if b.any || !b.relaxed {
		_, _ = b.w.WriteString("\r\n")
	}
	_ = b.w.Flush()
	return b.h.Sum(nil)
}

// tagList is the tags of a field or record (RFC 6376 3.2) with all blanks taken out of their values; ok is false where one
// is there twice, or is none.
func tagList(value string) (tags map[string]string, ok bool) {
	tags, ok = map[string]string{}, true
	list := strings.Split(value, ";")
	for i, tag := range list {
		if strings.TrimSpace(tag) == "" && i == len(list)-1 {
			break
		}
		name, v, found := strings.Cut(tag, "=")
		name = strings.TrimSpace(name)
		if _, twice := tags[name]; !found || name == "" || twice {
			ok = false
			continue
		}
		tags[name] = strings.Join(strings.Fields(v), "")
	}
	return tags, ok
}

// withoutSignature is a field with an empty b=.
func withoutSignature(raw string) string {
	name, value, _ := strings.Cut(raw, ":")
	list := strings.Split(value, ";")
	for i, tag := range list {
		if n, _, ok := strings.Cut(tag, "="); ok && strings.TrimSpace(n) == "b" {
			list[i] = n + "="
			if i == len(list)-1 {
				list[i] += "\r\n" // the field's end stood in the value
			}
		}
	}
	return name + ":" + strings.Join(list, ";")
}
