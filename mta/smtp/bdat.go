package smtp

import "strings"

// ParseBDAT reads BDAT's arguments (RFC 3030 2): the chunk's size in octets, and LAST where it is the last. ErrArgument
// for anything else. A size that does not fit into 63 bits is that bound.
func ParseBDAT(args string) (size int64, last bool, err error) {
	number, word, more := strings.Cut(args, " ")
	size, err = ParseSize(number)
	if err != nil || more && !strings.EqualFold(strings.TrimLeft(word, " "), "LAST") {
		return 0, false, ErrArgument
	}
	return size, more, nil
}
