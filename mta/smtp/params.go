package smtp

import (
	"strconv"
	"strings"
)

// Param is one esmtp-param of MAIL or RCPT (RFC 5321 4.1.2): a keyword in capitals, and a value where there was "=".
type Param struct {
	Key   string
	Value string
	Set   bool // there was a value, perhaps one that is not allowed to be empty
}

// maxParams is more than all extensions together define.
const maxParams = 20

func parseParams(s string) ([]Param, error) {
	var out []Param
	for word := range strings.FieldsSeq(s) {
		key, value, set := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if !isKeyword(key) || set && !isValue(value) || len(out) == maxParams {
			return nil, ErrParameter
		}
		for _, p := range out {
			if p.Key == key {
				return nil, ErrParameter
			}
		}
		out = append(out, Param{key, value, set})
	}
	return out, nil
}

// isValue is esmtp-value: no "=", no blank, no control character; UTF-8 may be in it (RFC 6531 3.3).
func isValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// ParseSize reads the value of SIZE: up to 20 digits (RFC 1870 3). What does not fit into 63 bits is that bound.
func ParseSize(s string) (int64, error) {
	if len(s) == 0 || len(s) > 20 {
		return 0, ErrParameter
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, ErrParameter
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, nil
	}
	return n, nil
}

// DecodeXtext undoes xtext (RFC 3461 4): "+" and two hexadecimal digits in capitals are one octet.
func DecodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			if i+2 >= len(s) {
				return "", ErrParameter
			}
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi < 0 || lo < 0 {
				return "", ErrParameter
			}
			b.WriteByte(byte(hi<<4 | lo))
			i += 2
		case c < '!' || c > '~' || c == '=':
			return "", ErrParameter
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// EncodeXtext writes s as xtext.
func EncodeXtext(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			b.WriteByte('+')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
