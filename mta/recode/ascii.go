package recode

import (
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// ascii is a field without octets beyond ASCII: addresses keep their names as encoded words and get A-labels, parameters
// are encoded (RFC 2231), trace gets question marks, and everything else is text.
func (f field) ascii() (string, error) {
	v := f.value()
	name := strings.ToLower(f.name)
	switch {
	case isAddressField(name):
		return f.addresses(v)
	case name == "content-type" || name == "content-disposition":
		t, params, err := mime.ParseMediaType(v)
		if err == nil {
			if s := mime.FormatMediaType(t, params); s != "" {
				return f.name + ": " + s + "\r\n", nil
			}
		}
		return f.name + ": " + marks(v) + "\r\n", nil
	case isTraceField(name):
		return string(marks(string(f.raw))), nil
	}
	return f.name + ": " + words(v) + "\r\n", nil
}

func isAddressField(name string) bool {
	switch strings.TrimPrefix(name, "resent-") {
	case "from", "sender", "reply-to", "to", "cc", "bcc":
		return true
	}
	return name == "disposition-notification-to" || name == "return-receipt-to"
}

// isTraceField names fields with a grammar in which encoded words have no place.
func isTraceField(name string) bool {
	switch name {
	case "received", "return-path", "message-id", "in-reply-to", "references", "resent-message-id", "content-id", "dkim-signature",
		"authentication-results", "received-spf", "date":
		return true
	}
	return strings.HasPrefix(name, "arc-") || strings.HasPrefix(name, "list-") && name != "list-id"
}

func (f field) addresses(v string) (string, error) {
	if !utf8.ValidString(v) {
		return f.name + ": " + words(v) + "\r\n", nil
	}
	list, err := mail.ParseAddressList(v)
	if err != nil {
		return "", fmt.Errorf("%w: %s", ErrAddress, f.name)
	}
	var out []string
	for _, a := range list {
		i := strings.LastIndexByte(a.Address, '@')
		domain, err := dns.ASCII(a.Address[i+1:])
		if err != nil || !isASCII([]byte(a.Address[:i])) {
			return "", fmt.Errorf("%w: %s", ErrAddress, f.name)
		}
		a.Address = a.Address[:i+1] + domain
		out = append(out, fold(a.String()))
	}
	return f.name + ": " + strings.Join(out, ",\r\n ") + "\r\n", nil
}

// words makes text encoded words.
func words(v string) string {
	if !utf8.ValidString(v) {
		return fold(mime.QEncoding.Encode("unknown-8bit", v))
	}
	beyond := 0
	for i := range len(v) {
		if v[i] >= utf8.RuneSelf {
			beyond++
		}
	}
	if beyond > len(v)/2 {
		return fold(mime.BEncoding.Encode("utf-8", v))
	}
	return fold(mime.QEncoding.Encode("utf-8", v))
}

// fold puts each encoded word behind the first on a line of its own.
func fold(s string) string { return strings.ReplaceAll(s, "?= =?", "?=\r\n =?") }

func marks(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= utf8.RuneSelf {
			return '?'
		}
		return c
	}, s)
}
