package remote

import (
	"bytes"
	"strings"
)

// readFields reads the beginning of a message. Of TLS-Required fields that contradict each other none counts.
func readFields(b []byte) (f fields) {
	required, count := false, 0
	for line := range bytes.Lines(b) {
		name, value, ok := strings.Cut(string(line[:min(len(line), 200)]), ":")
		switch {
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			return fields{noTLS: count > 0 && !required, report: f.report}
		case !ok || line[0] == ' ' || line[0] == '\t':
		case strings.EqualFold(strings.TrimRight(name, " \t"), "TLS-Required"):
			count++
			required = required || !strings.EqualFold(strings.Trim(value, " \t\r\n"), "No")
		case strings.EqualFold(strings.TrimRight(name, " \t"), "TLS-Report-Domain"):
			f.report = true
		}
	}
	return fields{noTLS: count > 0 && !required, report: f.report}
}
