package spf_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/spf"
)

func FuzzRecord(f *testing.F) {
	for _, text := range domains {
		f.Add(text, "a@x.test", "mx.x.test")
	}
	f.Add("v=spf1 a/24//64 mx:%{d2}/8 ptr:%{p}.x.test exists:%{ir}.%{v}._spf.%{L9r-} ip6:::1/0 redirect=%{h}.x.test", "%@x.test", "%{d}")
	f.Add("v=spf1 a:%{l1r+-}%{o}.test redirect=x.test exp=%{c}.test", "a+b-c@x.test", "[")
	f.Fuzz(func(t *testing.T, text, sender, helo string) {
		z := zone{"x.test": text, "mx.x.test": text}
		fl := &spf.Filter{Resolver: z}
		if err := fl.Configure(&filters.Site{}, filters.NewSettings("")); err != nil {
			t.Fatal(err)
		}
		for _, ip := range []string{"192.0.2.1", "2001:db8::1"} {
			v, err := fl.Sender(t.Context(), &filters.Event{Client: netip.AddrPortFrom(netip.MustParseAddr(ip), 25), Helo: helo, Sender: sender})
			if err != nil || !slices.Contains([]string{"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}, v.Notes[0].Result) {
				t.Errorf("got %+v, %v", v, err)
			}
		}
	})
}
