package daemon

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a field that a daemon wants in the message, octets.
const (
	maxName  = 76
	maxValue = 16 << 10
	maxLine  = 800 // with the field's name in front of it still within RFC 5322 2.1.1
)

// FieldName says whether name can be that of a header field (RFC 5322 2.2).
func FieldName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
}

// FieldValue makes of what a daemon has said the value of a header field: each of its lines, but for the first, begins with
// a blank; none is empty or too long; there are no control characters, and no more than 16 KiB.
func FieldValue(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxValue)], "?")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		if r != '\t' && r != '\n' && unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimRight(line, " \t"); line == "" {
			continue
		}
		words := strings.TrimLeft(line, " \t")
		switch indent := len(line) - len(words); {
		case len(lines) == 0:
			line = words
		case indent == 0 || indent > maxName: // none, or no line for anything else
			line = "\t" + words
		}
		for len(line) > maxLine {
			at := strings.LastIndexAny(line[:maxLine], " \t")
			if strings.TrimSpace(line[:max(at, 0)]) == "" { // one word
				for at = maxLine; !utf8.RuneStart(line[at]); at-- {
				}
			}
			lines = append(lines, strings.TrimRight(line[:at], " \t"))
			line = "\t" + strings.TrimLeft(line[at:], " \t")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
