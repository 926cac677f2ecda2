package filters

import "strings"

// Of a line of a header, octets without its end (RFC 5322 2.1.1).
const (
	maxLine  = 998
	goodLine = 78
)

// valid is text as the wire has it: UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "?") }

// fieldValue is the value of a field as it can stand in a message. What it cannot mend is left to smtpd, which refuses it.
func fieldValue(name, value string) []byte {
	value = strings.ReplaceAll(value, "\r\n", "\n")
	value = strings.NewReplacer("\x00", " ", "\r", " ").Replace(value)
	var b strings.Builder
	used := len(name) + len(": ")
	for line := range strings.Lines(value) {
		if used+len(line) > maxLine {
			line = fold(line, used)
		}
		b.WriteString(line)
		used = 0
	}
	return []byte(b.String())
}

// fold breaks a line at its blanks. used is what stands in front of it.
func fold(line string, used int) string {
	var b strings.Builder
	start := 0 // of the output's line
	for at := 0; at < len(line); {
		next := at + 1 + strings.IndexAny(line[at+1:], " \t")
		if next == at { // no blank is left
			next = len(line)
		}
		blank := line[at] == ' ' || line[at] == '\t'
		if blank && at > 0 && used+b.Len()-start+next-at > goodLine && strings.TrimSpace(line[at:]) != "" && strings.TrimSpace(b.String()[start:]) != "" {
			b.WriteByte('\n')
			start, used = b.Len(), 0
		}
		b.WriteString(line[at:next])
		at = next
	}
	return b.String()
}
