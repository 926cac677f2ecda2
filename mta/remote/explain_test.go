package remote_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/remote"
)

// explained is an explanation as text: site, hosts, and what its recipients get where no host can be used.
func explained(x remote.Explanation) string {
	out := []string{x.Site}
	for _, h := range x.Hosts {
		s := fmt.Sprintf("%d %s %v", h.Pref, h.Name, h.Addrs)
		switch {
		case h.Cut != "":
			s += " cut: " + h.Cut
		case h.Bad != nil:
			s += " bad: " + h.Bad.Reply().String()
		default:
			s += fmt.Sprintf(" tls %s by %q, dane: %s %d", h.TLS, h.By, h.DANE, len(h.TLSA))
		}
		out = append(out, s)
	}
	if x.Bad != nil {
		out = append(out, "= "+show([]mta.Outcome{*x.Bad}))
	}
	return strings.Join(out, "\n")
}

func TestExplanationsOfDestinationsAgreeWithDeliveries(t *testing.T) {
	many := []string{"mx0.many.test. 60 IN A 192.0.2.9"}
	for i := range 22 {
		many = append(many, fmt.Sprintf("many.test. 60 IN MX %d mx%d.many.test.", i, i))
	}
	n := newNetwork(t, append(many,
		"null.test. 60 IN MX 0 .",
		"two.test. 60 IN MX 20 b.two.test.", "two.test. 60 IN MX 10 a.two.test.", "a.two.test. 60 IN A 192.0.2.1", "a.two.test. 60 IN AAAA 2001:db8::1",
		"b.two.test. 60 IN A 192.0.2.2",
		"backup.test. 60 IN MX 10 a.two.test.", "backup.test. 60 IN MX 20 our.test.", "backup.test. 60 IN MX 20 c.test.", "backup.test. 60 IN MX 30 d.test.",
		"loop.test. 60 IN MX 10 our.test.",
		"ours.test. 60 IN MX 10 alias.test.", "ours.test. 60 IN MX 20 a.two.test.", "alias.test. 60 IN A 192.0.2.99",
		"nomx.test. 60 IN A 192.0.2.3",
		"gone.test. 60 IN MX 10 none.test.", "gone.test. 60 IN MX 20 b.two.test.",
		"none-at-all.test. 60 IN MX 10 none.test.",
		"dane.test. 60 IN MX 10 mx.dane.test.", "mx.dane.test. 60 IN A 192.0.2.4", "_25._tcp.mx.dane.test. 60 IN TLSA 3 1 1 "+strings.Repeat("00", 32),
		"old.test. 60 IN MX 10 mx.old.test.", "mx.old.test. 60 IN A 192.0.2.4", "_25._tcp.mx.old.test. 60 IN TLSA 1 1 1 00",
		"signed.test. 60 IN MX 10 mx.signed.test.", "mx.signed.test. 60 IN A 192.0.2.4",
		"broken.test. 60 IN MX 10 mx.broken.test.", "mx.broken.test. 60 IN A 192.0.2.4",
		"sts.test. 60 IN MX 10 a.two.test.", "sts.test. 60 IN MX 20 evil.test.", "evil.test. 60 IN A 192.0.2.5",
		"testing.test. 60 IN MX 10 a.two.test.",
		"unfetched.test. 60 IN MX 10 a.two.test.",
	)...)
	n.zone.Sign(".dane.test", "dane.test", ".old.test", "old.test", ".signed.test", "signed.test", ".broken.test", "broken.test")
	n.zone.Rcode("_25._tcp.mx.broken.test", wire.RcodeServerFailure)
	n.zone.Rcode("trouble.test", wire.RcodeServerFailure)
	n.opt.Own = func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.99:25") }
	n.opt.DANE = true
	n.opt.STS = policies{
		"sts.test": "mode: enforce\nmx: *.two.test", "testing.test": "mode: testing\nmx: *.two.test", "unfetched.test": "!",
	}
	w := &watcher{}
	n.opt.Watcher = w
	if remote.New(n.opt).Explain(t.Context(), mta.Destination{Domain: "broken.test"}); len(w.said) != 0 {
		t.Errorf("the watcher was told %q, although nothing was tried", w.said)
	}
	const (
		unsigned = `dane: no DNSSEC for the MX records of `
		a        = "a.two.test [[2001:db8::1]:25 192.0.2.1:25]"
	)
	for _, c := range []struct {
		dest mta.Destination
		want string
	}{
		{mta.Destination{Domain: "null.test"}, "null.test\n= failed 556 5.1.10"},
		{mta.Destination{Domain: "missing.test"}, "missing.test\n= failed 550 5.1.2"},
		{mta.Destination{Domain: "trouble.test"}, "trouble.test\n= deferred 451 4.4.3"},
		{mta.Destination{Domain: "loop.test"}, "loop.test\n10 our.test [] cut: it is this host\n= deferred 451 4.3.5"},
		{mta.Destination{Domain: "ours.test"}, "alias.test,a.two.test\n10 alias.test [] cut: this host takes mail at its address, or at that of one as good or better\n" +
			"20 " + a + " cut: this host takes mail at its address, or at that of one as good or better\n= deferred 451 4.3.5"},
		{mta.Destination{Domain: "none-at-all.test"}, "none.test\n10 none.test [] bad: 550 5.4.4 mail server none.test has no address\n= failed 550 5.4.4"},
		{mta.Destination{Domain: "broken.test"}, "mx.broken.test\n10 mx.broken.test [192.0.2.4:25] bad: 451 4.7.5 whether DANE protects mail server mx.broken.test cannot be looked up\n= deferred 451 4.7.5"},

		{mta.Destination{Domain: "gone.test"}, "none.test,b.two.test\n10 none.test [] bad: 550 5.4.4 mail server none.test has no address\n" +
			`20 b.two.test [192.0.2.2:25] tls opportunistic by "", ` + unsigned + "gone.test 0"},
		{mta.Destination{Domain: "two.test"}, "a.two.test,b.two.test\n10 " + a + ` tls opportunistic by "", ` + unsigned + "two.test 0\n" +
			`20 b.two.test [192.0.2.2:25] tls opportunistic by "", ` + unsigned + "two.test 0"},
		{mta.Destination{Domain: "backup.test"}, "a.two.test\n10 " + a + ` tls opportunistic by "", ` + unsigned + "backup.test 0\n" +
			"20 our.test [] cut: it is this host\n20 c.test [] cut: it is no better than this host\n30 d.test [] cut: it is no better than this host"},
		{mta.Destination{Domain: "nomx.test"}, "nomx.test\n" + `-1 nomx.test [192.0.2.3:25] tls opportunistic by "", dane: no TLSA records that DNSSEC vouches for 0`},
		{mta.Destination{Domain: "[192.0.2.7]"}, `192.0.2.7` + "\n" + `-1 192.0.2.7 [192.0.2.7:25] tls opportunistic by "", dane:  0`},
		{mta.Destination{Domain: "dane.test"}, "mx.dane.test\n" + `10 mx.dane.test [192.0.2.4:25] tls encrypt by "dane", dane: TLSA records of mx.dane.test 1`},
		{mta.Destination{Domain: "old.test"}, "mx.old.test\n" + `10 mx.old.test [192.0.2.4:25] tls encrypt by "", dane: TLSA records of mx.old.test, of which none can be used: TLS with any certificate 1`},
		{mta.Destination{Domain: "signed.test"}, "mx.signed.test\n" + `10 mx.signed.test [192.0.2.4:25] tls opportunistic by "", dane: no TLSA records that DNSSEC vouches for 0`},
		{mta.Destination{Domain: "sts.test"}, "a.two.test,evil.test\n10 " + a + ` tls verify by "mta-sts", ` + unsigned + "sts.test 0\n" +
			"20 evil.test [192.0.2.5:25] bad: 451 4.7.5 mail server evil.test is not one that the MTA-STS policy of sts.test allows"},
		{mta.Destination{Domain: "testing.test"}, "a.two.test\n10 " + a + ` tls opportunistic by "", ` + unsigned + "testing.test 0"},
		{mta.Destination{Domain: "unfetched.test"}, "a.two.test\n10 " + a + ` tls opportunistic by "", ` + unsigned + "unfetched.test 0"},
		{mta.Destination{Host: "a.two.test", Port: 465, Implicit: true, Login: "/x"}, "smtps:a.two.test:465 login=/x\n" +
			`-1 a.two.test [[2001:db8::1]:465 192.0.2.1:465] tls verify by "verify", dane: no TLSA records that DNSSEC vouches for 0`},
		{mta.Destination{Path: "/run/lmtp", LMTP: true, TLS: mta.TLSNone}, "lmtp:unix:/run/lmtp tls=none\n" + `-1 our.test [] tls none by "", dane:  0`},
	} {
		x := remote.New(n.opt).Explain(t.Context(), c.dest)
		if got := explained(x); got != c.want {
			t.Errorf("%+v: got\n%s\nwant\n%s", c.dest, got, c.want)
		}
		if x.Bad != nil {
			if got := show(n.sendTo(c.dest, text, "x@"+strings.Trim(c.dest.Domain, "[]"))); got != show([]mta.Outcome{*x.Bad}) {
				t.Errorf("%+v: the explanation says %s, a delivery %s", c.dest, show([]mta.Outcome{*x.Bad}), got)
			}
		}
		switch c.dest.Domain {
		case "sts.test", "testing.test":
			if x.STS == nil || x.STS.Mode == mtasts.None || x.STSErr != nil {
				t.Errorf("%s: got policy %+v, %v", c.dest, x.STS, x.STSErr)
			}
		case "unfetched.test":
			if x.STS != nil || x.STSErr == nil {
				t.Errorf("%s: got policy %+v, %v; want an error", c.dest, x.STS, x.STSErr)
			}
		}
	}
	if len(n.dials) != 0 {
		t.Errorf("connections to %v, want none", n.dials)
	}
	x := remote.New(n.opt).Explain(t.Context(), mta.Destination{Domain: "many.test"})
	if len(x.Hosts) != 22 || x.Hosts[0].Cut != "" || x.Hosts[20].Cut != "no more than 20 are looked at" {
		t.Errorf("many exchangers: got %s", explained(x))
	}
}
