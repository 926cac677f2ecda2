package host

import (
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

const authResults = "Authentication-Results"

// authField writes the field of RFC 8601 2.2 from notes; "" where they say nothing.
func authField(id string, notes []*proto.Note) string {
	var b strings.Builder
	for _, n := range notes {
		if n.Hidden {
			continue
		}
		b.WriteString(";\r\n\t" + strings.ToLower(n.Method) + "=" + strings.ToLower(n.Result))
		if n.Reason != "" {
			b.WriteString(" reason=" + quoted(n.Reason))
		}
		for _, p := range n.Properties {
			if p.Value != "" {
				b.WriteString("\r\n\t\t" + p.Type + "." + strings.ToLower(p.Name) + "=" + value(p.Value))
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return authResults + ": " + id + b.String() + "\r\n"
}

// value is a pvalue: a token, an address, or what needs quotes.
func value(s string) string {
	local, domain, ok := strings.Cut(s, "@")
	if isToken(s) || ok && (local == "" || isToken(local)) && isToken(domain) {
		return s
	}
	return quoted(s)
}

// isToken is RFC 2045 5.1.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
	})
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// dropForged takes away the results that claim to be ours: only we may say what we have found (RFC 8601 5). The fields that
// we have put in front stay.
func (h *header) dropForged(id string, content io.ReaderAt) error {
	keep := h.fields[:0]
	for _, f := range h.fields {
		if f.text == "" && strings.EqualFold(f.name, authResults) {
			b := make([]byte, min(f.size, 4<<10))
			if _, err := content.ReadAt(b, f.off); err != nil && err != io.EOF {
				return err
			}
			_, v, _ := strings.Cut(string(b), ":")
			if claims(v, id) {
				continue
			}
		}
		keep = append(keep, f)
	}
	h.fields = keep
	return nil
}

// claims says whether a field's value begins with our authserv-id, or with what some reader could take for it.
func claims(v, id string) bool {
	front, _, _ := strings.Cut(v, ";")
	if strings.Contains(front, "=?") || strings.EqualFold(bare(v), id) {
		return true // an encoded word (RFC 2047), which no name is; or ours in pieces
	}
	v = strings.TrimLeft(v, " \t\r\n")
	for strings.HasPrefix(v, "(") {
		rest, ok := skipComment(v)
		if !ok {
			return true // nobody can tell what it says
		}
		v = strings.TrimLeft(rest, " \t\r\n")
	}
	if q, ok := strings.CutPrefix(v, `"`); ok {
		name, _, _ := strings.Cut(q, `"`)
		v = strings.ReplaceAll(name, `\`, "")
	} else if i := strings.IndexAny(v, " \t\r\n;(/"); i >= 0 {
		v = v[:i]
	}
	return strings.EqualFold(strings.TrimSuffix(v, "."), id) || v == ""
}

// bare is a name without comments, quotes, blanks and control characters, and without the dot at its end.
func bare(s string) string {
	var b strings.Builder
	for s != "" {
		if s[0] == '(' {
			rest, ok := skipComment(s)
			if !ok {
				break
			}
			s = rest
			continue
		}
		if s[0] > ' ' && s[0] < 0x7f && !strings.ContainsRune(`"\`, rune(s[0])) {
			b.WriteByte(s[0])
		}
		s = s[1:]
	}
	name := b.String()
	if i := strings.IndexAny(name, ";/"); i >= 0 {
		name = name[:i]
	}
	return strings.TrimRight(name, ".")
}

func skipComment(s string) (rest string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[i+1:], true
			}
		}
	}
	return "", false
}
