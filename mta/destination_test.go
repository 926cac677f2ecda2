package mta_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestADestinationIsNamedByItsPlace(t *testing.T) {
	for want, d := range map[string]mta.Destination{
		"example.org":                {Domain: "example.org", TLS: mta.TLSVerify},
		"smtp:mx.example.org":        {Domain: "example.org", Host: "mx.example.org"},
		"smtps:mx.example.org:465":   {Host: "mx.example.org", Port: 465, Implicit: true},
		"smtp:[2001:db8::1]:25":      {Host: "2001:db8::1", Port: 25},
		"smtp:192.0.2.1:2525":        {Host: "192.0.2.1", Port: 2525, Login: "/etc/posthouse/login"},
		"smtp:2001:db8::1":           {Host: "2001:db8::1"},
		"smtps:smarthost.example.de": {Host: "smarthost.example.de", Implicit: true},
	} {
		if got := d.String(); got != want {
			t.Errorf("%+v: got %s, want %s", d, got, want)
		}
	}
}
