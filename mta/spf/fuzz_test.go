package spf_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/spf"
)

func FuzzRecord(f *testing.F) {
	for _, text := range []string{"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", "v=spf1 ~all", "v=spf1 frobnicate -all", "v=spf1 include:x.test -all"} {
		f.Add(text, "a@x.test", "mx.x.test")
	}
	f.Add("v=spf1 a/24//64 mx:%{d2}/8 ptr:%{p}.x.test exists:%{ir}.%{v}._spf.%{L9r-} ip6:::1/0 redirect=%{h}.x.test", "%@x.test", "%{d}")
	f.Add("v=spf1 a:%{l1r+-}%{o}.test redirect=x.test exp=%{c}.test", "a+b-c@x.test", "[")
	f.Fuzz(func(t *testing.T, text, sender, helo string) {
		z := suiteZone{"x.test": {{"TXT", text}}, "mx.x.test": {{"TXT", text}}}
		for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
			got, err := spf.Check(t.Context(), z, netip.MustParseAddr(ip), helo, sender)
			if !slices.Contains([]string{"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}, got) {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if u := spf.Cost(t.Context(), z, "x.test"); u.Terms > 100 {
			t.Errorf("counted %d terms, with no end", u.Terms)
		}
	})
}
