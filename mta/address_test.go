package mta_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestParseAddressRefuses(t *testing.T) {
	long := strings.Repeat("a", mta.MaxPathLen-1)
	for _, s := range []string{
		"", "@", "a", "a@", "@x", "a@@x", "a@b@c",
		"a\r\n@x", "a@x\r\nRCPT TO:<b@x>", "a\x00@x", "a@x\x00", "a\x7f@x", "\"a\r\"@x", "\"a\x7f\"@x", // controls
		"\"\u0085\"@x", "a\u0085@x", "a@\u0085", // C1 control: a line end to some
		"\"\u202e\"@x", "a\u202eb@x", "a@\u200bx", // invisible, or turning the text round
		"a b@x", " a@x", "a@x ", "a@x y", "a\u00a0b@x", // blanks outside quotes
		"\xff@x", "a@\xff", "\"\xff\"@x", // not UTF-8
		"@relay,@other:a@x", "@relay:a@x", // source routes
		".a@x", "a.@x", "a..b@x", "a(c)@x", "<a>@x", "a,b@x", "a:b@x", "a;b@x", `a\b@x`,
		`""@x`, `"a@x`, `"a"b@x`, `"a\`, `"a\"@x`, "\"a\\\x01\"@x", "\"a\\\u00e9\"@x",
		"a@.x", "a@x.", "a@x..y", "a@-x", "a@x-", "a@x/y", "a@x!y", "a@" + strings.Repeat("a", 64),
		"a@[", "a@[]", "a@[1.2.3]", "a@[1.2.3.4", "a@[1.2.3.4]x", "a@[::1]", "a@[IPv6:1.2.3.4]", "a@[IPv6:::1%eth0]", "a@[IPv6:]", "a@[x]",
		long + "@x", `"` + long + `"@x`, "a@" + strings.Repeat("a.", 127) + "aa",
		strings.Repeat("a", 64) + "@" + strings.Repeat("\u023a", 94), // fits, and would not in lower case
	} {
		a, err := mta.ParseAddress(s)
		if !errors.Is(err, mta.ErrBadAddress) {
			t.Errorf("%q: got %+v, %v; want ErrBadAddress", s, a, err)
		}
		if a != (mta.Address{}) {
			t.Errorf("%q: got %+v beside an error", s, a)
		}
	}
}

func TestParseAddressAccepts(t *testing.T) {
	for s, want := range map[string]mta.Address{
		"a@x":                      {Local: "a", Domain: "x"},
		"A.b+c@Example.ORG":        {Local: "A.b+c", Domain: "example.org"}, // the local part's case is its owner's
		"!#$%&'*+-/=?^_`{|}~@x":    {Local: "!#$%&'*+-/=?^_`{|}~", Domain: "x"},
		`"a b"@x`:                  {Local: "a b", Domain: "x"},
		`"a@b"@x`:                  {Local: "a@b", Domain: "x"},
		`"a\"\\b"@x`:               {Local: `a"\b`, Domain: "x"},
		`"\a"@x`:                   {Local: "a", Domain: "x"},
		`".a."@x`:                  {Local: ".a.", Domain: "x"},
		"josé@exámple.org":         {Local: "josé", Domain: "exámple.org"},
		"a@_x-1.y":                 {Local: "a", Domain: "_x-1.y"},
		"a@[192.0.2.1]":            {Local: "a", Domain: "[192.0.2.1]"},
		"a@[ipv6:2001:DB8:0:0::1]": {Local: "a", Domain: "[IPv6:2001:db8::1]"},
		// Of bulk senders and forwarders, who care little about 64 octets.
		strings.Repeat("a", 252) + "@x": {Local: strings.Repeat("a", 252), Domain: "x"},
	} {
		got, err := mta.ParseAddress(s)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", s, got, err, want)
		}
	}
}

func TestLowerASCIILeavesOtherLettersAlone(t *testing.T) {
	for s, want := range map[string]string{"": "", "@AZ[`az{": "@az[`az{", "JosÉ": "josÉ", "\u212aI\u0130": "\u212ai\u0130", "SRS0=Ab": "srs0=ab"} {
		if got := mta.LowerASCII(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

func TestAnAddressIsQuotedWhereItMustBe(t *testing.T) {
	for want, a := range map[string]mta.Address{
		"":               {},
		"postmaster":     {Local: "postmaster"},
		"a@x":            {Local: "a", Domain: "x"},
		`"a b"@x`:        {Local: "a b", Domain: "x"},
		`"a\"b\\c"@x`:    {Local: `a"b\c`, Domain: "x"},
		`"a..b"@x`:       {Local: "a..b", Domain: "x"},
		"josé@[1.2.3.4]": {Local: "josé", Domain: "[1.2.3.4]"},
	} {
		if got := a.String(); got != want {
			t.Errorf("%+v: got %s, want %s", a, got, want)
		}
		var back mta.Address
		if err := back.UnmarshalText([]byte(want)); err != nil || back != a {
			t.Errorf("%s: got %+v, %v; want %+v", want, back, err, a)
		}
	}
	var a mta.Address
	if err := a.UnmarshalText([]byte("nobody")); err == nil {
		t.Errorf("a local part without a domain: got %+v, want an error", a)
	}
	if !(mta.Address{}).IsNull() || (mta.Address{Local: "postmaster"}).IsNull() {
		t.Error("only the zero address is the null sender")
	}
	if (mta.Address{Local: "é", Domain: "x"}).IsASCII() || (mta.Address{Local: "a", Domain: "é"}).IsASCII() || !(mta.Address{Local: "a", Domain: "x"}).IsASCII() {
		t.Error("IsASCII: got a wrong answer")
	}
}

// FuzzAddress: what is accepted has one form, which is accepted again and means the same; it has no controls and is
// bounded.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@x", `"a\"b c"@x`, "a@[IPv6:::1]", "josé@exámple.org", "a@[192.0.2.1]", "\"\u0085\"@x", strings.Repeat("a", 64) + "@" + strings.Repeat("\u023a", 84)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mta.ParseAddress(s)
		if err != nil {
			if !errors.Is(err, mta.ErrBadAddress) || a != (mta.Address{}) {
				t.Fatalf("%q: got %+v, %v", s, a, err)
			}
			return
		}
		text := a.String()
		back, err := mta.ParseAddress(text)
		if err != nil || back != a {
			t.Fatalf("%q is %+v, written %q; that is %+v, %v", s, a, text, back, err)
		}
		if len(text) > mta.MaxPathLen || a.Local == "" || a.Domain == "" || len(a.Domain) > mta.MaxDomainLen {
			t.Fatalf("%q: got %q, out of bounds", s, text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
			t.Fatalf("%q: got %q, which has a control character", s, text)
		}
		if strings.ContainsAny(a.Domain, " @<>\"\\") {
			t.Fatalf("%q: got the domain %q", s, a.Domain)
		}
	})
}
