package smtp

import (
	"net/netip"
	"strconv"
	"strings"
)

// Xclient are the attributes of one XCLIENT command (Postfix's XCLIENT_README); nil: not given, "" = not known.
type Xclient struct {
	Name, Helo, Login *string
	Addr              netip.Addr // the zero Addr: not given, or not known
	Port              *uint16
	ESMTP             *bool // PROTO
}

// XclientAttributes are the names that ParseXclient reads, as EHLO shows them.
const XclientAttributes = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// ParseXclient reads XCLIENT's arguments: NAME=value with blanks between them, the values as xtext, each attribute once.
// ErrArgument for anything else. DESTADDR and DESTPORT are checked and dropped.
func ParseXclient(args string) (Xclient, error) {
	var x Xclient
	seen := map[string]bool{}
	for word := range strings.FieldsSeq(args) {
		key, value, ok := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if !ok || seen[key] || x.set(key, value) != nil {
			return Xclient{}, ErrArgument
		}
		seen[key] = true
	}
	if len(seen) == 0 {
		return Xclient{}, ErrArgument
	}
	return x, nil
}

func (x *Xclient) set(key, value string) error {
	value, err := DecodeXtext(value)
	if err != nil || value == "" || len(value) > 255 {
		return ErrArgument
	}
	known := !strings.EqualFold(value, "[UNAVAILABLE]") && !strings.EqualFold(value, "[TEMPUNAVAIL]")
	if !known {
		value = ""
	} else if !isVisible(value) {
		return ErrArgument
	}
	switch key {
	case "NAME":
		x.Name = &value
	case "HELO":
		x.Helo = &value
	case "LOGIN":
		x.Login = &value
	case "ADDR":
		return x.setAddr(value)
	case "DESTADDR":
		return new(Xclient).setAddr(value)
	case "PORT", "DESTPORT":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil && known {
			return ErrArgument
		}
		if port := uint16(n); key == "PORT" {
			x.Port = &port
		}
	case "PROTO":
		extended := strings.EqualFold(value, "ESMTP")
		if !extended && !strings.EqualFold(value, "SMTP") {
			return ErrArgument
		}
		x.ESMTP = &extended
	default:
		return ErrArgument
	}
	return nil
}

// setAddr reads 192.0.2.1 or IPV6:2001:db8::1; an IPv6 address without the prefix is taken too, as some clients send it.
func (x *Xclient) setAddr(value string) error {
	if value == "" {
		return nil
	}
	if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
		value = value[5:]
	}
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" {
		return ErrArgument
	}
	x.Addr = a.Unmap()
	return nil
}

// isVisible: graphic ASCII characters alone, or UTF-8.
func isVisible(s string) bool {
	return s == Printable(s, true) && !strings.ContainsAny(s, " ")
}
