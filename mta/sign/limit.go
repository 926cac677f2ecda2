package sign

import (
	"fmt"
	"strings"
)

// What a header may have for go-msgauth to look at it: a field of many lines costs it the square of them, and each name that a
// signature covers a walk over all fields. Senders stay far below; a letter to 10,000 addresses, one a line, is within them.
const (
	maxFields    = 2000
	maxCopied    = 4 << 30 // octets of a field times its lines, twice of what is copied
	maxSignature = 16 << 10
)

// Check returns an ErrHead for a header whose signatures would take too long to make or to verify. Its fields come with their
// names and line ends.
func Check(header []string) error {
	if len(header) > maxFields {
		return fmt.Errorf("%w: %d fields, the limit is %d", ErrHead, len(header), maxFields)
	}
	for _, raw := range header {
		name, _, _ := strings.Cut(raw, ":")
		name = strings.TrimRight(name, " \t")
		if lines := strings.Count(raw, "\n"); int64(lines)*int64(len(raw)) > maxCopied {
			return fmt.Errorf("%w: a field %.50q of %d lines", ErrHead, name, lines)
		}
		if strings.EqualFold(name, signatureField) && len(raw) > maxSignature {
			return fmt.Errorf("%w: a signature of %d octets, the limit is %d", ErrHead, len(raw), maxSignature)
		}
	}
	return nil
}
