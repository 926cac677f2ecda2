package spf

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxDomain is how long a name of DNS can be; from a longer one labels are taken on the left (RFC 7208 7.3).
const maxDomain = 253

// expand makes a domain of a domain-spec (RFC 7208 7). The forms were checked.
func (c *check) expand(ctx context.Context, spec, domain string) string {
	out := expandForm.ReplaceAllStringFunc(strings.NewReplacer("%%", "\x00", "%_", " ", "%-", "%20").Replace(spec), func(m string) string {
		p := expandForm.FindStringSubmatch(m)
		value := c.letter(ctx, strings.ToLower(p[1]), domain)
		delimiters := p[4]
		if delimiters == "" {
			delimiters = "."
		}
		parts := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(delimiters, r) })
		if p[2] == "" && p[3] == "" && p[4] == "" {
			parts = []string{value}
		}
		if p[3] != "" {
			slices.Reverse(parts)
		}
		if n, err := strconv.Atoi(p[2]); err == nil && n < len(parts) {
			parts = parts[len(parts)-n:]
		}
		value = strings.Join(parts, ".")
		if p[1] < "a" { // a capital letter
			value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
		}
		return value
	})
	out = strings.TrimSuffix(strings.ReplaceAll(out, "\x00", "%"), ".")
	for len(out) > maxDomain {
		_, rest, ok := strings.Cut(out, ".")
		if !ok {
			return ""
		}
		out = rest
	}
	return out
}

func (c *check) letter(ctx context.Context, letter, domain string) string {
	local, at, _ := cutLast(c.sender)
	switch letter {
	case "s":
		return c.sender
	case "l":
		return local
	case "o":
		return at
	case "d":
		return domain
	case "i":
		return macroAddr(c.ip)
	case "p":
		return c.validated(ctx, domain)
	case "h":
		return c.helo
	case "v":
		if c.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	}
	return ""
}

// macroAddr is an address as the macro i has it: IPv6 by nibbles.
func macroAddr(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	var nibbles []string
	for _, b := range ip.AsSlice() {
		nibbles = append(nibbles, strconv.FormatUint(uint64(b>>4), 16), strconv.FormatUint(uint64(b&15), 16))
	}
	return strings.Join(nibbles, ".")
}

func cutLast(sender string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(sender, '@')
	if i < 0 {
		return "", sender, false
	}
	return sender[:i], sender[i+1:], true
}
