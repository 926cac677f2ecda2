package spf_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/spf"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// zone has TXT records alone.
type zone struct{ mtatest.Texts }

func (z zone) MX(context.Context, string) ([]dns.MX, error) { return nil, dns.ErrNotFound }

func (z zone) Addrs(context.Context, string, bool) ([]netip.Addr, error) { return nil, dns.ErrNotFound }

func (z zone) Name(context.Context, netip.Addr) ([]string, error) { return nil, dns.ErrNotFound }

var domains = zone{mtatest.Texts{
	"pass.test":  "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all",
	"fail.test":  "v=spf1 -all",
	"soft.test":  "v=spf1 ~all",
	"bad.test":   "v=spf1 frobnicate -all",
	"later.test": "later",
	"loop.test":  "v=spf1 include:loop.test -all",
}}

func configured(t *testing.T, text string) *spf.Filter {
	t.Helper()
	f := &spf.Filter{Resolver: domains}
	if err := f.Configure(&filters.Site{}, filters.NewSettings(text)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestResultsBecomeNotesAndWhatTheSettingsSay(t *testing.T) {
	const strict = "[settings]\nreject = [\"fail\", \"permerror\"]\ntempfail = [\"temperror\"]\nskip = [\"198.51.100.0/24\"]\nscore = { softfail = 2.5 }"
	f := configured(t, strict)
	for _, c := range []struct {
		client, helo, sender string
		result               string
		property             string
		action               filters.Action
		enhanced             string
	}{
		{"192.0.2.1", "c.test", "a@pass.test", "pass", "smtp.mailfrom=a@pass.test", filters.Continue, ""},
		{"2001:db8::1", "c.test", "a@pass.test", "pass", "smtp.mailfrom=a@pass.test", filters.Continue, ""},
		{"192.0.2.1", "pass.test", "", "pass", "smtp.helo=pass.test", filters.Continue, ""},
		{"203.0.113.1", "pass.test", "", "fail", "smtp.helo=pass.test", filters.Reject, "5.7.23"},
		{"203.0.113.1", "c.test", "a@fail.test", "fail", "smtp.mailfrom=a@fail.test", filters.Reject, "5.7.23"},
		{"203.0.113.1", "c.test", "a@soft.test", "softfail", "smtp.mailfrom=a@soft.test", filters.Continue, ""},
		{"203.0.113.1", "c.test", "a@bad.test", "permerror", "smtp.mailfrom=a@bad.test", filters.Reject, "5.7.24"},
		{"203.0.113.1", "c.test", "a@loop.test", "permerror", "smtp.mailfrom=a@loop.test", filters.Reject, "5.7.24"},
		{"203.0.113.1", "c.test", "a@later.test", "temperror", "smtp.mailfrom=a@later.test", filters.TempFail, "4.7.24"},
		{"203.0.113.1", "c.test", "a@nothing.test", "none", "smtp.mailfrom=a@nothing.test", filters.Continue, ""},
		{"203.0.113.1", "[203.0.113.1]", "", "none", "smtp.helo=[203.0.113.1]", filters.Continue, ""},
		{"203.0.113.1", "localhost", "", "none", "smtp.helo=localhost", filters.Continue, ""},
		{"198.51.100.1", "c.test", "a@fail.test", "", "", filters.Continue, ""},
	} {
		v, err := f.Sender(t.Context(), &filters.Event{Client: netip.AddrPortFrom(netip.MustParseAddr(c.client), 25), Helo: c.helo, Sender: c.sender, HasSender: true})
		if err != nil {
			t.Fatal(err)
		}
		if c.result == "" {
			if v != nil {
				t.Errorf("%s: got %+v, want it passed over", c.client, v)
			}
			continue
		}
		n := v.Notes[0]
		p := n.Properties[0]
		if n.Method != "spf" || n.Result != c.result || p.Type+"."+p.Name+"="+p.Value != c.property || v.Action != c.action || v.Enhanced != c.enhanced {
			t.Errorf("%s <%s>: got %+v, want %s %s, action %d %s", c.helo, c.sender, v, c.result, c.property, c.action, c.enhanced)
		}
		if want := 2.5; (v.Score == want) != (c.result == "softfail") {
			t.Errorf("<%s>: got the score %v", c.sender, v.Score)
		}
	}
	mild := configured(t, "")
	if v, err := mild.Sender(t.Context(), &filters.Event{Client: netip.MustParseAddrPort("203.0.113.1:25"), Helo: "c.test", Sender: "a@fail.test"}); err != nil || v.Action != filters.Continue {
		t.Errorf("without settings: got %+v, %v; want a note alone", v, err)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[settings]\nreject = [\"pass\"]", "line 2: reject"},
		{"[settings]\ntempfail = [\"x\"]", "line 2: tempfail"},
		{"[settings]\n\nskip = [\"everything\"]", "line 3: skip"},
		{"[settings]\nscore = { x = 1 }", "score"},
		{"[settings]\nrejekt = []", "unknown key"},
	} {
		err := (&spf.Filter{Resolver: domains}).Configure(&filters.Site{}, filters.NewSettings(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}
