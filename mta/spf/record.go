package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// errSyntax is for a record that does not obey RFC 7208 12: all of it is read before any of it counts.
var errSyntax = errors.New("syntax error")

// record is an SPF record.
type record struct {
	mechanisms []mechanism
	redirect   string // domain-spec; "" = none
}

// mechanism is one of RFC 7208 5.
type mechanism struct {
	result string // of a match
	name   string
	domain string       // domain-spec; "" = the domain itself
	prefix netip.Prefix // of ip4 and ip6
	bits4  int          // of a and mx
	bits6  int
}

var qualifiers = map[byte]string{'+': "pass", '-': "fail", '~': "softfail", '?': "neutral"}

var (
	modifierForm = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.-]*)=(.*)$`)
	cidrForm     = regexp.MustCompile(`^(.*?)(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?$`)
	macroForm    = regexp.MustCompile(`^(?:[\x21-\x24\x26-\x7e]|%%|%_|%-|%\{[A-Za-z][0-9]*r?[-.+,/_=]*\})*$`)
	expandForm   = regexp.MustCompile(`%\{([A-Za-z])([0-9]*)(r?)([-.+,/_=]*)\}`)
	endForm      = regexp.MustCompile(`(?i)(?:\.([a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?|%\{[a-z][0-9]*r?[-.+,/_=]*\})$`)
)

// isRecord is RFC 7208 4.5.
func isRecord(text string) bool {
	const version = "v=spf1"
	return len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) && (len(text) == len(version) || text[len(version)] == ' ')
}

func parse(text string) (record, error) {
	var r record
	exp := false
	for term := range strings.SplitSeq(text[len("v=spf1"):], " ") {
		if term == "" {
			continue
		}
		m := modifierForm.FindStringSubmatch(term)
		var err error
		switch {
		case m == nil:
			var x mechanism
			x, err = parseMechanism(term)
			r.mechanisms = append(r.mechanisms, x)
		case strings.EqualFold(m[1], "redirect"):
			if r.redirect != "" || !isDomainSpec(m[2], false) {
				err = errSyntax
			}
			r.redirect = m[2]
		case strings.EqualFold(m[1], "exp"):
			if exp || !isDomainSpec(m[2], false) {
				err = errSyntax
			}
			exp = true // nobody is told what a stranger has written
		default:
			if !isMacro(m[2], true) {
				err = errSyntax
			}
		}
		if err != nil {
			return r, fmt.Errorf("%w in the term %.80q", err, term)
		}
	}
	return r, nil
}

func parseMechanism(term string) (mechanism, error) {
	m := mechanism{result: "pass", bits4: 32, bits6: 128}
	if result, ok := qualifiers[term[0]]; ok {
		m.result, term = result, term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	m.name = strings.ToLower(term[:end])
	rest := term[end:]
	value, has := strings.CutPrefix(rest, ":")
	ok := false
	switch m.name {
	case "all":
		ok = rest == ""
	case "include", "exists":
		m.domain, ok = value, has && isDomainSpec(value, false)
	case "ptr":
		m.domain, ok = value, rest == "" || has && isDomainSpec(value, false)
	case "ip4", "ip6":
		m.prefix, ok = parseNetwork(value, m.name == "ip4")
	case "a", "mx":
		ok = m.parseHost(rest)
	}
	if !ok {
		return m, errSyntax
	}
	return m, nil
}

// parseHost reads what stands behind a and mx. A domain-spec may hold a slash; what has the form of a length is one.
func (m *mechanism) parseHost(rest string) bool {
	p := cidrForm.FindStringSubmatch(rest)
	if p == nil {
		return false
	}
	if p[2] != "" {
		m.bits4, _ = strconv.Atoi(p[2]) // the form holds digits alone
	}
	if p[3] != "" {
		m.bits6, _ = strconv.Atoi(p[3])
	}
	value, has := strings.CutPrefix(p[1], ":")
	m.domain = value
	return m.bits4 <= 32 && m.bits6 <= 128 && (p[1] == "" || has && isDomainSpec(value, false))
}

func parseNetwork(value string, four bool) (netip.Prefix, bool) {
	text, bits, has := strings.Cut(value, "/")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4() != four {
		return netip.Prefix{}, false
	}
	n := a.BitLen()
	if has {
		n, err = strconv.Atoi(bits)
		if err != nil || strconv.Itoa(n) != bits || n < 0 || n > a.BitLen() {
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(a, n), true
}

// isDomainSpec is the domain-spec of RFC 7208 7.1.
func isDomainSpec(s string, exp bool) bool { return isMacro(s, exp) && endForm.MatchString(s) }

// isMacro is a macro-string of known letters, of which c, r and t are for explanations.
func isMacro(s string, exp bool) bool {
	if !macroForm.MatchString(s) {
		return false
	}
	for _, m := range expandForm.FindAllStringSubmatch(s, -1) {
		letters := "slodiphv"
		if exp {
			letters += "crt"
		}
		if !strings.Contains(letters, strings.ToLower(m[1])) {
			return false
		}
		if n, err := strconv.Atoi(m[2]); m[2] != "" && (err != nil || n < 1) {
			return false
		}
	}
	return true
}
