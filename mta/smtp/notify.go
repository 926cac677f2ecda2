package smtp

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Notify is when the sender wants reports (RFC 3461 4.1).
type Notify struct{ Never, Success, Failure, Delay bool }

// ParseNotify reads the value of NOTIFY: NEVER alone, or some of the others between commas, in any case. False for
// anything else, "" among it.
func ParseNotify(s string) (Notify, bool) {
	var n Notify
	for word := range strings.SplitSeq(s, ",") {
		var f *bool
		switch strings.ToUpper(word) {
		case "NEVER":
			f = &n.Never
		case "SUCCESS":
			f = &n.Success
		case "FAILURE":
			f = &n.Failure
		case "DELAY":
			f = &n.Delay
		default:
			return Notify{}, false
		}
		if *f {
			return Notify{}, false
		}
		*f = true
	}
	if n.Never && (n.Success || n.Failure || n.Delay) {
		return Notify{}, false
	}
	return n, true
}

// String is the value of NOTIFY, "" for the zero Notify.
func (n Notify) String() string {
	var words []string
	for _, w := range []struct {
		set  bool
		word string
	}{{n.Never, "NEVER"}, {n.Success, "SUCCESS"}, {n.Failure, "FAILURE"}, {n.Delay, "DELAY"}} {
		if w.set {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ",")
}

// ASCIIAddress gives an address beyond ASCII the form utf-8-addr-xtext (RFC 6533 3); others stay as they are.
func ASCIIAddress(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c > '~' }) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if c > ' ' && c <= '~' && c != '+' && c != '=' && c != '\\' {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return b.String()
}

// UnicodeAddress undoes ASCIIAddress. What has not its form stays as it is.
func UnicodeAddress(s string) string {
	var b strings.Builder
	for rest := s; rest != ""; {
		head, tail, found := strings.Cut(rest, `\x{`)
		b.WriteString(head)
		if !found {
			break
		}
		hex, after, ok := strings.Cut(tail, "}")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || !utf8.ValidRune(rune(n)) {
			return s
		}
		b.WriteRune(rune(n))
		rest = after
	}
	return b.String()
}
