package spamassassin

import (
	"math"
	"strings"
	"testing"
)

// FuzzAnswer holds that whatever spamd answers becomes an error of one line, or a score that is a number.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"SPAMD/1.1 0 EX_OK\r\nContent-length: 22\r\nSpam: True ; 9.0 / 5.0\r\n\r\nX-Spam-Flag: YES\r\n\tx\r\n\r\n", "SPAMD/1.1 0 EX_OK\r\nSpam: False ; nan / 5\r\nContent-length: -1\r\n\r\n",
		"SPAMD/1.0 76 Bad header line: x\r\n", "SPAMD/1.1 0\n\n", "", "SPAMD/1.1 0 EX_OK\nSpam:yes;0x1p4/-inf\n\n", "SPAMD/1.1 0 x\nSpam: no;1/1\ncontent-length:9\n\n x\n:\n\r",
	} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, body bool) {
		r, err := answer(strings.NewReader(text), body)
		if err != nil {
			if s := err.Error(); len(s) > 400 || strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("got the error %q", s)
			}
			return
		}
		if math.IsNaN(r.score) || math.Abs(r.score) > maxScore || math.IsNaN(r.required) {
			t.Fatalf("got %+v", r)
		}
		if !body && r.header != nil {
			t.Fatalf("got a header that nobody wanted: %+v", r)
		}
		for _, field := range r.header {
			if strings.ContainsAny(field.Name, "\r\n:") {
				t.Fatalf("got the field %q", field)
			}
		}
	})
}
