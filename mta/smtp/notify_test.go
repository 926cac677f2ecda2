package smtp_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

func TestParseNotify(t *testing.T) {
	for _, s := range []string{"", ",", "NEVER,FAILURE", "SUCCESS,", "SUCCESS,SUCCESS", "SUCCESS, FAILURE", "ALWAYS", "NEVER=1", "S\u0055CCESS\x00"} {
		if n, ok := smtp.ParseNotify(s); ok {
			t.Errorf("%q: got %+v, want a refusal", s, n)
		}
	}
	for s, want := range map[string]string{
		"NEVER": "NEVER", "never": "NEVER", "SUCCESS": "SUCCESS", "delay,Failure": "FAILURE,DELAY", "FAILURE,SUCCESS,DELAY": "SUCCESS,FAILURE,DELAY",
	} {
		if n, ok := smtp.ParseNotify(s); !ok || n.String() != want {
			t.Errorf("%q: got %q, %v; want %q", s, n, ok, want)
		}
	}
}

func TestASCIIAddress(t *testing.T) {
	for in, want := range map[string]string{
		"bob+list@far.test": "bob+list@far.test", "~bob+list@far.test": "~bob+list@far.test", "": "",
		"jörg@far.test": `j\x{F6}rg@far.test`, "ö+=\\ x@y.test": `\x{F6}\x{2B}\x{3D}\x{5C}\x{20}x@y.test`, "😀@y.test": `\x{1F600}@y.test`,
	} {
		if got := smtp.ASCIIAddress(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
