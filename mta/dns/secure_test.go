package dns_test

import (
	"errors"
	"fmt"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

func TestTheADBitCountsFromATrustedServerAlone(t *testing.T) {
	z := mtatest.NewZone(t, "a.test. 60 IN MX 10 mx.test.")
	z.Sign("a.test")
	for _, c := range []struct {
		trust dns.Trust
		more  []string // further servers
		want  bool
	}{
		{"", nil, true},
		{dns.TrustAuto, nil, true},
		{dns.TrustAuto, []string{"192.0.2.1"}, false}, // which one answers is chance
		{dns.TrustAuto, []string{"[::1]:53", "127.0.0.5"}, true},
		{dns.TrustAlways, []string{"192.0.2.1"}, true},
		{dns.TrustNever, nil, false},
	} {
		r, err := dns.New(dns.Options{Servers: append([]string{z.Addr()}, c.more...), DNSSEC: c.trust})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.TrustsAD(); got != c.want {
			t.Errorf("%q with %q: TrustsAD is %v, want %v", c.trust, c.more, got, c.want)
		}
		if p, err := r.MXPath(t.Context(), "a.test"); err != nil || p.Secure != c.want {
			t.Errorf("%q with %q: got %+v, %v; want secure %v", c.trust, c.more, p, err, c.want)
		}
	}
}

func TestAChainIsAsSecureAsItsWeakestLink(t *testing.T) {
	z := mtatest.NewZone(t,
		"plain.test. 60 IN A 192.0.2.1", "six.signed.test. 60 IN AAAA 2001:db8::1",
		"a.signed.test. 60 IN A 192.0.2.1",
		"in.signed.test. 60 IN CNAME a.signed.test.", "out.signed.test. 60 IN CNAME plain.test.",
		"in.plain.test. 60 IN CNAME a.signed.test.",
		"_25._tcp.a.signed.test. 60 IN TLSA 3 1 1 00ff", "_25._tcp.a.signed.test. 60 IN TLSA 2 0 0 aa",
		"_25._tcp.plain.test. 60 IN TLSA 3 1 1 00ff",
		"_25._tcp.in.signed.test. 60 IN CNAME _25._tcp.plain.test.",
	)
	z.Sign("signed.test", ".signed.test")
	z.Rcode("fail.signed.test", wire.RcodeServerFailure)
	r := resolver(t, dns.Options{}, z)
	ctx := t.Context()
	for _, c := range []struct {
		name string
		ask  func(name string) (dns.Path, error)
		want string
		err  error
	}{
		{"plain.test", func(n string) (dns.Path, error) { return r.AddrPath(ctx, n) }, "{plain.test false}", nil},
		{"a.signed.test", func(n string) (dns.Path, error) { return r.AddrPath(ctx, n) }, "{a.signed.test true}", nil},
		{"six.signed.test", func(n string) (dns.Path, error) { return r.AddrPath(ctx, n) }, "{six.signed.test true}", nil},
		{"IN.signed.test.", func(n string) (dns.Path, error) { return r.AddrPath(ctx, n) }, "{a.signed.test true}", nil},
		{"out.signed.test", func(n string) (dns.Path, error) { return r.AddrPath(ctx, n) }, "{plain.test false}", nil},
		{"in.plain.test", func(n string) (dns.Path, error) { return r.AddrPath(ctx, n) }, "{a.signed.test false}", nil},
		{"out.signed.test", func(n string) (dns.Path, error) { return r.AliasPath(ctx, n) }, "{out.signed.test true}", nil},
		{"a.signed.test", func(n string) (dns.Path, error) { return r.AliasPath(ctx, n) }, "{a.signed.test true}", dns.ErrNoData},
		{"a.signed.test", func(n string) (dns.Path, error) { return r.MXPath(ctx, n) }, "{a.signed.test true}", dns.ErrNoData},
		{"none.signed.test", func(n string) (dns.Path, error) { return r.MXPath(ctx, n) }, "{none.signed.test true}", dns.ErrNotFound},
		{"none.test", func(n string) (dns.Path, error) { return r.MXPath(ctx, n) }, "{none.test false}", dns.ErrNotFound},
		{"a.signed.test", func(n string) (dns.Path, error) { _, p, err := r.TLSA(ctx, 25, n); return p, err }, "{_25._tcp.a.signed.test true}", nil},
		{"a.signed.test", func(n string) (dns.Path, error) { _, p, err := r.TLSA(ctx, 465, n); return p, err }, "{_465._tcp.a.signed.test true}", dns.ErrNotFound},
		{"in.signed.test", func(n string) (dns.Path, error) { _, p, err := r.TLSA(ctx, 25, n); return p, err }, "{_25._tcp.plain.test false}", nil},
	} {
		for _, from := range []string{"the server", "the cache"} {
			p, err := c.ask(c.name)
			if fmt.Sprint(p) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s from %s: got %v, %v; want %s, %v", c.name, from, p, err, c.want, c.err)
			}
		}
	}
	if p, err := r.AddrPath(ctx, "fail.signed.test"); err == nil || dns.Permanent(err) || p.Secure {
		t.Errorf("SERVFAIL, as for forged answers: got %v, %v; want a temporary error", p, err)
	}
	list, _, err := r.TLSA(ctx, 25, "a.signed.test")
	if want := "[{3 1 1 [0 255]} {2 0 0 [170]}]"; err != nil || fmt.Sprint(list) != want {
		t.Errorf("TLSA: got %v, %v; want %s", list, err, want)
	}
}
