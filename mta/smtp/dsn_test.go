package smtp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

func TestCheckEnvID(t *testing.T) {
	for _, s := range []string{"", "a b", "a=b", "+0D+0AX-Evil:1", "+00", "+C3+A4", "+2b", "ä", strings.Repeat("a", 101)} {
		if err := smtp.CheckEnvID(s); !errors.Is(err, smtp.ErrParameter) {
			t.Errorf("%q: got %v, want %v", s, err, smtp.ErrParameter)
		}
	}
	for _, s := range []string{"QQ314159", "a+20b+2B", strings.Repeat("a", 100)} {
		if err := smtp.CheckEnvID(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCheckORcpt(t *testing.T) {
	for _, c := range []struct {
		value     string
		utf8, bad bool
	}{
		{value: "", bad: true},
		{value: "rfc822", bad: true},
		{value: "rfc822;", bad: true},
		{value: ";a@b", bad: true},
		{value: "rfc 822;a@b", bad: true},
		{value: "rfc822;a@b+0D+0AEvil:", bad: true},
		{value: "rfc822;a@b+", bad: true},
		{value: "rfc822;a@b+c3+a4", bad: true},
		{value: "rfc822;ä@b", bad: true},
		{value: "rfc822;ä@b", utf8: true, bad: true}, // xtext is ASCII whatever the transaction
		{value: "rfc822;" + strings.Repeat("a", 500), bad: true},
		{value: "utf-8;", bad: true},
		{value: "utf-8;ä@b", bad: true},
		{value: `utf-8;\x{E4`, bad: true},
		{value: `utf-8;\x{}@b`, bad: true},
		{value: `utf-8;\x{4}@b`, bad: true},
		{value: `utf-8;\x{0E4}@b`, bad: true},
		{value: `utf-8;\x{D800}@b`, bad: true},
		{value: `utf-8;\x{110000}@b`, bad: true},
		{value: `utf-8;\x{0A}@b`, bad: true},
		{value: `utf-8;\x{85}@b`, bad: true},
		{value: `utf-8;\x{+E4}@b`, bad: true},
		{value: `utf-8;a\b`, bad: true},
		{value: "utf-8;a+2B@b", bad: true},
		{value: "utf-8;a\u0085@b", utf8: true, bad: true},
		{value: "utf-8;\xff@b", utf8: true, bad: true},
		{value: "rfc822;Alice+2Bx@Example.ORG"},
		{value: "X400;+2FC+3Dus+2F"},
		{value: `utf-8;\x{E4}\x{2B}\x{10FFFD}@b.test`},
		{value: "UTF-8;plain@b.test"},
		{value: "utf-8;ä\\x{5C}@b.test", utf8: true},
	} {
		if err := smtp.CheckORcpt(c.value, c.utf8); (err != nil) != c.bad || err != nil && !errors.Is(err, smtp.ErrParameter) {
			t.Errorf("%q, SMTPUTF8 %v: got %v, want it to be bad: %v", c.value, c.utf8, err, c.bad)
		}
	}
}

// FuzzORcpt: what is taken can stand in a command and in a field, and an address made ASCII is taken everywhere.
func FuzzORcpt(f *testing.F) {
	f.Add("utf-8;\\x{E4}ä@b.test", true)
	f.Add("rfc822;a+2Bb@c", false)
	f.Fuzz(func(t *testing.T, value string, utf8 bool) {
		if smtp.CheckORcpt(value, utf8) != nil {
			return
		}
		if _, params, err := smtp.ParseTo("TO:<a@b.test> ORCPT=" + value); err != nil || params[0].Value != value {
			t.Fatalf("%q cannot stand in a command: %v, %v", value, params, err)
		}
		kind, addr, _ := strings.Cut(value, ";")
		if !strings.EqualFold(kind, "utf-8") {
			return
		}
		if ascii := kind + ";" + smtp.ASCIIAddress(addr); len(ascii) <= 500 && smtp.CheckORcpt(ascii, false) != nil {
			t.Fatalf("%q became %q, which is refused", value, ascii)
		}
	})
}
