package smtp

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of RFC 3461 4.2 and 4.4, in octets as they stand in the command.
const (
	maxORcpt = 500
	maxEnvID = 100
)

// CheckEnvID says whether ENVID may have the value: xtext of printable ASCII and blanks (RFC 3461 4.4). ErrParameter if
// not.
func CheckEnvID(value string) error {
	id, err := DecodeXtext(value)
	if err != nil || len(value) > maxEnvID || !isPrintable(id) {
		return ErrParameter
	}
	return nil
}

// CheckORcpt says whether ORCPT may have the value: an address type, ";", and the address as xtext (RFC 3461 4.2). Of type
// utf-8, the address has the form utf-8-addr-xtext, or utf-8-addr-unitext where the transaction has SMTPUTF8 (RFC 6533 3).
// ErrParameter if not.
func CheckORcpt(value string, smtputf8 bool) error {
	kind, addr, ok := strings.Cut(value, ";")
	if !ok || len(value) > maxORcpt || !isAtom(kind) {
		return ErrParameter
	}
	if strings.EqualFold(kind, "utf-8") {
		return checkUTF8Address(addr, smtputf8)
	}
	if addr, err := DecodeXtext(addr); err != nil || !isPrintable(addr) {
		return ErrParameter
	}
	return nil
}

// checkUTF8Address reads QCHAR, QUCHAR and EmbeddedUnicodeChar of RFC 6533 3. A control character is refused in any form.
func checkUTF8Address(s string, smtputf8 bool) error {
	if s == "" {
		return ErrParameter
	}
	for rest := s; rest != ""; {
		c, n := utf8.DecodeRuneInString(rest)
		switch {
		case c == '\\':
			var ok bool
			if c, n, ok = embedded(rest); !ok {
				return ErrParameter
			}
		case c == '+' || c == '=' || c <= ' ', c > '~' && !smtputf8:
			return ErrParameter
		}
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == utf8.RuneError {
			return ErrParameter
		}
		rest = rest[n:]
	}
	return nil
}

// embedded reads \x{HEXPOINT}: two to six hexadecimal digits without a zero in front of what needs fewer.
func embedded(s string) (c rune, n int, ok bool) {
	digits, rest, found := strings.Cut(strings.TrimPrefix(s, `\x{`), "}")
	if !strings.HasPrefix(s, `\x{`) || !found || len(digits) < 2 || len(digits) > 6 || len(digits) > 2 && digits[0] == '0' {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	return rune(v), len(s) - len(rest), err == nil && utf8.ValidRune(rune(v))
}

// isPrintable: graphic characters of ASCII and blanks, at least one.
func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// isAtom is RFC 822's atom.
func isAtom(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`()<>@,;:\".[]=`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}
