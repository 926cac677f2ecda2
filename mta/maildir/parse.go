package maildir

import (
	"strconv"
	"strings"

	gomaildir "github.com/emersion/go-maildir"
)

// Flag is one letter behind ":2," in a file name: go-maildir's FlagSeen and the others.
type Flag = gomaildir.Flag

// Name is what the name of a file in new/ or cur/ says: unique[,S=n][,W=n][,...][:2,flags].
type Name struct {
	Unique string // up to the first comma: it stays when another program changes the rest
	Size   int64  // S=: octets of the file; -1 where the name does not say
	Wire   int64  // W=: octets with CR LF line ends; -1 where the name does not say
	Flags  []Flag // as they stand; nil where there is no ":2,"
}

// ParseName takes a file name apart. ok is false for what is no message's name: one that begins with a dot, has a slash
// or a NUL in it, or no unique part. Fields and flags that it does not know, as other programs write them, do no harm.
func ParseName(file string) (n Name, ok bool) {
	base, info, _ := strings.Cut(file, ":")
	unique, fields, _ := strings.Cut(base, ",")
	if unique == "" || unique[0] == '.' || strings.ContainsAny(file, "/\x00") {
		return Name{}, false
	}
	n = Name{Unique: unique, Size: -1, Wire: -1}
	for fields != "" {
		var field string
		field, fields, _ = strings.Cut(fields, ",")
		if s, ok := strings.CutPrefix(field, "S="); ok && n.Size < 0 {
			n.Size = parseSize(s)
		} else if s, ok := strings.CutPrefix(field, "W="); ok && n.Wire < 0 {
			n.Wire = parseSize(s)
		}
	}
	if letters, ok := strings.CutPrefix(info, "2,"); ok {
		letters, _, _ = strings.Cut(letters, ",")
		n.Flags = []Flag(letters)
	}
	return n, true
}

// parseSize reads decimal digits; -1 for anything else.
func parseSize(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// arrival returns the seconds since 1970 that a unique part begins with (digits, then a dot); ok is false without them.
func arrival(unique string) (sec int64, ok bool) {
	digits, _, found := strings.Cut(unique, ".")
	if !found {
		return 0, false
	}
	sec = parseSize(digits)
	return sec, sec >= 0 && len(digits) <= 12
}
