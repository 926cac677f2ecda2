package smtp_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/posthouse-mail/posthouse/mta/smtp"
)

func TestParseXclient(t *testing.T) {
	for _, s := range []string{
		"", "ADDR", "ADDR=", "=1", "ADDR=1.2.3", "ADDR=IPV6:", "ADDR=fe80::1%25eth0", "ADDR=fe80::1%eth0", "PORT=65536", "PORT=-1", "PROTO=LMTP", "PROTO=[UNAVAILABLE]",
		"HELO=a+0D+0AMAIL", "HELO=a+20b", "LOGIN=+00", "LOGIN=a+", "NAME=a NAME=b", "NAME=a name=b", "SOMETHING=1", "DESTADDR=x", "DESTPORT=x", "NAME=\xff",
	} {
		if x, err := smtp.ParseXclient(s); !errors.Is(err, smtp.ErrArgument) {
			t.Errorf("%q: got %+v, %v; want %v", s, x, err, smtp.ErrArgument)
		}
	}
	str := func(s string) *string { return &s }
	port, extended, plain := uint16(25), true, false
	for s, want := range map[string]smtp.Xclient{
		"NAME=[unavailable] ADDR=[TEMPUNAVAIL]": {Name: str("")},
		"addr=IPV6:2001:db8::1 PORT=25":         {Addr: netip.MustParseAddr("2001:db8::1"), Port: &port},
		"ADDR=::ffff:192.0.2.1 PROTO=smtp":      {Addr: netip.MustParseAddr("192.0.2.1"), ESMTP: &plain},
		"HELO=a.test  LOGIN=a+2Bb@c.test PROTO=ESMTP DESTADDR=192.0.2.2 DESTPORT=25": {
			Helo: str("a.test"), Login: str("a+b@c.test"), ESMTP: &extended},
	} {
		got, err := smtp.ParseXclient(s)
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
			t.Errorf("%q: %v %s", s, err, diff)
		}
	}
}
