package dmarc_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/dmarc"
)

func TestLint(t *testing.T) {
	for text, want := range map[string]string{
		"v=DMARC1 p=none":                         "a semicolon",
		"v=DMARC1":                                "no p=",
		"v=dmarc1; p=none":                        "v=DMARC1",
		"p=none; v=DMARC1":                        "v=DMARC1",
		"v=DMARC1; p=monitor":                     "p=monitor",
		"v=DMARC1; p=none; sp=all":                "sp=all",
		"v=DMARC1; p:none":                        "no tag with a value",
		"v=DMARC1; pollicy=none; p=none":          "no tag of DMARC",
		"v=DMARC1; p=none adkim=s":                "semicolon is missing",
		"v=DMARC1; p=none; rua=a@b.test":          "rua=a@b.test",
		"v=DMARC1; p=none; rua=":                  "rua=",
		"v=DMARC1;\x00":                           "no tag with a value",
		"v=DMARC1; p=none; rua=mailto:a@b.test":   "",
		"v = DMARC1 ; P = Reject ;":               "",
		"v=DMARC1;p=quarantine;pct=50;ri=86400;;": "",
		"v=DMARC1; p=none; rua=mailto:a@b.test!10m,mailto:c+d=e@f.test; ruf=mailto:x@y.test": "",
	} {
		_, err := dmarc.Lint(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
