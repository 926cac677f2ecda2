package mta

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Address is a mailbox name (RFC 5321 4.1.2, with the characters that RFC 6531 3.3 adds).
// Local is the local part with its quoting removed; Domain is in lower case, a name or an address literal in brackets.
// The zero Address is the null sender <>. A Local without a Domain exists only for <postmaster>.
type Address struct{ Local, Domain string }

// Bounds of RFC 5321 4.5.3.1, in octets. Of a local part's 64, which bulk senders and forwarders are past every day, it wants that
// nobody relies on more; it wants no bound, too.
const (
	MaxDomainLen = 255
	MaxPathLen   = 254 // without the angle brackets
)

// ErrBadAddress says that a string is no mailbox name; the errors that wrap it say why.
var ErrBadAddress = errors.New("bad address")

type addressError string

func (e addressError) Error() string { return "bad address: " + string(e) }
func (addressError) Unwrap() error   { return ErrBadAddress }

// ParseAddress reads local-part "@" domain. It accepts UTF-8 in both (Address.IsASCII tells), quoted local parts, and
// address literals; it refuses control characters, source routes, blanks outside quotes, and all that is too long.
func ParseAddress(s string) (Address, error) {
	if len(s) > MaxPathLen {
		return Address{}, addressError("longer than 254 octets")
	}
	if !utf8.ValidString(s) {
		return Address{}, addressError("not UTF-8")
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return Address{}, err
	}
	if rest == "" || rest[0] != '@' {
		return Address{}, addressError("no domain")
	}
	domain, err := ParseDomain(rest[1:])
	if err != nil {
		return Address{}, err
	}
	a := Address{local, domain}
	if len(a.String()) > MaxPathLen { // a letter may be longer in lower case
		return Address{}, addressError("longer than 254 octets")
	}
	return a, nil
}

// cutLocal takes the local part off the front of s and unquotes it.
func cutLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		local, rest, err = cutQuoted(s)
	} else {
		n := strings.IndexByte(s, '@')
		if n < 0 {
			n = len(s)
		}
		local, rest = s[:n], s[n:]
		if !isDotString(local) {
			err = addressError("local part")
		}
	}
	return local, rest, err
}

// cutQuoted reads a Quoted-string (RFC 5321 4.1.2): printable characters and blanks, with \ before any of them.
func cutQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if b.Len() == 0 {
				return "", "", addressError("empty local part")
			}
			if hasUnsafeRune(b.String()) {
				return "", "", addressError("control character")
			}
			return b.String(), s[i+1:], nil
		case c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", addressError("quoted pair")
			}
			b.WriteByte(s[i])
		case c < ' ' || c == 0x7f:
			return "", "", addressError("control character")
		default:
			b.WriteByte(c)
		}
	}
	return "", "", addressError("quotation mark without an end")
}

// isDotString says whether s needs no quotes: Dot-string of RFC 5321 4.1.2 with UTF8-non-ascii.
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAtext(c) && c != '.' && c < utf8.RuneSelf {
			return false
		}
	}
	return !hasUnsafeRune(s)
}

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// hasUnsafeRune finds control and format characters beyond ASCII: they would let one address look like another in a log.
func hasUnsafeRune(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || r >= utf8.RuneSelf && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.IsSpace(r))
	})
}

// ParseDomain reads a Domain or an address-literal (RFC 5321 4.1.2 and 4.1.3) and returns it in lower case.
// Labels may hold underscores, which real names have, and letters beyond ASCII (RFC 6531 3.3).
func ParseDomain(s string) (string, error) {
	if len(s) > MaxDomainLen {
		return "", addressError("domain longer than 255 octets")
	}
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	if hasUnsafeRune(s) {
		return "", addressError("domain")
	}
	s = strings.ToLower(s)
	if len(s) > MaxDomainLen {
		return "", addressError("domain longer than 255 octets")
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || len(label) > 63 && isASCII(label) {
			return "", addressError("domain")
		}
		for i := 0; i < len(label); i++ {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c < utf8.RuneSelf {
				return "", addressError("domain")
			}
		}
	}
	return s, nil
}

// parseLiteral reads [192.0.2.1] or [IPv6:2001:db8::1] and returns it in its shortest form.
func parseLiteral(s string) (string, error) {
	if !strings.HasSuffix(s, "]") {
		return "", addressError("address literal")
	}
	in := s[1 : len(s)-1]
	v6 := len(in) > 5 && strings.EqualFold(in[:5], "IPv6:")
	if v6 {
		in = in[5:]
	}
	ip, err := netip.ParseAddr(in)
	if err != nil || ip.Zone() != "" || ip.Is4() == v6 {
		return "", addressError("address literal")
	}
	if v6 {
		return "[IPv6:" + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}

// IsNull says whether a is the null sender.
func (a Address) IsNull() bool { return a == Address{} }

// IsASCII says whether a can go to a server without SMTPUTF8 (RFC 6531).
func (a Address) IsASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// LowerASCII puts the letters of ASCII into lower case, and leaves those beyond it alone: their case rules differ by language
// (RFC 6530 10.1).
func LowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// String returns the address as it stands between angle brackets, quoted where it must be; "" for the null sender.
func (a Address) String() string {
	local := a.Local
	if local != "" && !isDotString(local) {
		var b strings.Builder
		b.WriteByte('"')
		for i := 0; i < len(local); i++ {
			if c := local[i]; c == '"' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(local[i])
		}
		b.WriteByte('"')
		local = b.String()
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

// MarshalText writes the form of String.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote: "", "postmaster", or a full address.
func (a *Address) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "" || strings.EqualFold(s, "postmaster") {
		*a = Address{Local: s}
		return nil
	}
	v, err := ParseAddress(s)
	if err == nil {
		*a = v
	}
	return err
}
