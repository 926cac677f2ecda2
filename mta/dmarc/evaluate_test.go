package dmarc_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/dmarc"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// zone has records by domain; "later" is an answer that does not come. A name of a record exists, and what is above it.
type zone struct {
	records map[string][]string
	hosts   map[string]bool // names that exist beside
	asked   []string
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) {
	z.asked = append(z.asked, name)
	list := z.records[strings.TrimPrefix(name, "_dmarc.")]
	if len(list) == 0 {
		return nil, dns.ErrNotFound
	}
	if list[0] == "later" {
		return nil, errors.New("server did not answer")
	}
	return list, nil
}

func (z *zone) Addrs(_ context.Context, host string, _ bool) ([]netip.Addr, error) {
	z.asked = append(z.asked, host)
	switch {
	case strings.HasPrefix(host, "later."):
		return nil, errors.New("server did not answer")
	case z.hosts[host]:
		return nil, dns.ErrNoData
	}
	return nil, dns.ErrNotFound
}

func one(records map[string]string) map[string][]string {
	m := map[string][]string{}
	for name, text := range records {
		m[name] = []string{text}
	}
	return m
}

// world is what most rows ask.
var world = one(map[string]string{
	"strict.example":            "v=DMARC1; p=reject; adkim=s; aspf=s",
	"example.com":               "v=DMARC1; p=reject; sp=quarantine; np=none",
	"own.example.com":           "v=DMARC1; p=none; sp=reject",
	"nosp.example":              "v=DMARC1; p=quarantine",
	"np.example":                "v=DMARC1; p=none; np=reject",
	"test.example":              "v=DMARC1; p=reject; sp=quarantine; t=y",
	"nop.example":               "v=DMARC1; rua=mailto:r@nop.example",
	"nopnorua.example":          "v=DMARC1;",
	"badp.example":              "v=DMARC1; p=refuse",
	"badprua.example":           "v=DMARC1; p=refuse; sp=reject; rua=mailto:r@badprua.example",
	"badsp.example":             "v=DMARC1; p=reject; sp=x",
	"badsprua.example":          "v=DMARC1; p=reject; sp=x; rua=https://x.example, mailto:r@badsprua.example!10m",
	"psd":                       "v=DMARC1; p=reject; np=quarantine; psd=y",
	"reg.psd":                   "v=DMARC1; p=none",
	"div.big.example":           "v=DMARC1; p=reject; psd=n",
	"big.example":               "v=DMARC1; p=none; sp=none",
	"late.example":              "later",
	"version.example":           "v=DMARC2; p=reject",
	"case.example":              "v=dmarc1; p=reject",
	"second.example":            "p=reject; v=DMARC1",
	"upper.example":             "V = DMARC1 ; P = REJECT ; ADKIM = S",
	"twice.example":             "v=DMARC1; p=none; p=reject",
	"mail.example.com":          "v=spf1 -all",
	"junk.example":              "v=DMARC1; ;;=; =x; p; unknown=1; p=reject; adkim=q; psd=z; t=maybe; fo=9",
	"private.psd":               "v=DMARC1; p=reject; psd=y",
	"tenant.private.psd":        "v=DMARC1; p=quarantine",
	"f.g.h.i.j.mail.example.fr": "v=DMARC1; p=reject",
	"g.h.i.j.mail.example.eu":   "v=DMARC1; p=reject",
})

func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		name, author, spf, dkim string
		result                  dmarc.Result
		domain                  string
		policy, disposition     dmarc.Policy
	}{
		// hostile and broken records first
		{"another version", "version.example", "", "", "none", "", "none", "none"},
		{"the version is compared exactly", "case.example", "", "", "none", "", "none", "none"},
		{"v is not first", "second.example", "", "", "none", "", "none", "none"},
		{"no record at all", "nothing.example", "nothing.example", "", "none", "", "none", "none"},
		{"another kind of record", "x.mail.example.com", "", "", "fail", "example.com", "none", "none"},
		{"garbage between tags", "junk.example", "", "", "fail", "junk.example", "reject", "reject"},
		{"tags in capitals and with blanks", "upper.example", "a.upper.example", "a.upper.example", "pass", "upper.example", "reject", "none"},
		{"of two p the first counts", "twice.example", "", "", "fail", "twice.example", "none", "none"},
		{"a broken p, and nobody who wants a report", "badp.example", "", "", "none", "", "none", "none"},
		{"a broken p, with a report's address", "badprua.example", "", "", "fail", "badprua.example", "none", "none"},
		{"then sp does not count either", "x.badprua.example", "", "", "fail", "badprua.example", "none", "none"},
		{"a broken sp", "badsp.example", "", "", "none", "", "none", "none"},
		{"a broken sp, with a report's address", "badsprua.example", "", "", "fail", "badsprua.example", "none", "none"},
		{"DNS does not answer", "late.example", "late.example", "late.example", "temperror", "", "none", "none"},
		{"DNS does not answer above", "a.late.example", "", "", "temperror", "", "none", "none"},
		{"whether the author exists is not known", "later.example.com", "", "", "temperror", "", "none", "none"},

		{"no p", "nop.example", "", "", "fail", "nop.example", "none", "none"},
		{"no p and no rua", "nopnorua.example", "", "", "fail", "nopnorua.example", "none", "none"},
		{"no p, and aligned", "nop.example", "nop.example", "", "pass", "nop.example", "none", "none"},

		{"nothing is proven", "example.com", "", "", "fail", "example.com", "reject", "reject"},
		{"SPF alone", "example.com", "example.com", "", "pass", "example.com", "reject", "none"},
		{"DKIM alone", "example.com", "", "example.com", "pass", "example.com", "reject", "none"},
		{"both of another domain", "example.com", "evil.test", "evil.test", "fail", "example.com", "reject", "reject"},
		{"a name that ends alike", "example.com", "badexample.com", "notexample.com", "fail", "example.com", "reject", "reject"},
		{"the domain above it is not below", "example.com", "com", "com", "fail", "example.com", "reject", "reject"},
		{"one of several signatures", "example.com", "evil.test", "evil.test,a.test,news.example.com", "pass", "example.com", "reject", "none"},
		{"relaxed, below", "example.com", "bounce.example.com", "", "pass", "example.com", "reject", "none"},
		{"relaxed, above", "host.example.com", "example.com", "", "pass", "example.com", "quarantine", "none"},
		{"relaxed, beside", "host.example.com", "", "other.example.com", "pass", "example.com", "quarantine", "none"},
		{"relaxed, though the author has its own record", "own.example.com", "", "example.com", "pass", "own.example.com", "none", "none"},
		{"strict, the same", "strict.example", "strict.example", "", "pass", "strict.example", "reject", "none"},
		{"strict, below", "strict.example", "a.strict.example", "a.strict.example", "fail", "strict.example", "reject", "reject"},

		{"sp, for a name that exists", "host.example.com", "", "", "fail", "example.com", "quarantine", "quarantine"},
		{"np, for one that does not", "nobody.example.com", "", "", "fail", "example.com", "none", "none"},
		{"its own record, and not sp of the one above", "own.example.com", "", "", "fail", "own.example.com", "none", "none"},
		{"sp below the organization does not count", "host.own.example.com", "", "", "fail", "example.com", "quarantine", "quarantine"},
		{"without sp it is p", "host.nosp.example", "", "", "fail", "nosp.example", "quarantine", "quarantine"},
		{"without np and sp it is p", "nobody.nosp.example", "", "", "fail", "nosp.example", "quarantine", "quarantine"},
		{"np, stricter than p", "nobody.np.example", "", "", "fail", "np.example", "reject", "reject"},
		{"np, not for the domain itself", "np.example", "", "", "fail", "np.example", "none", "none"},
		{"t=y takes a step down", "test.example", "", "", "fail", "test.example", "reject", "quarantine"},
		{"t=y, below", "host.test.example", "", "", "fail", "test.example", "quarantine", "none"},
		{"t=y changes no pass", "test.example", "test.example", "", "pass", "test.example", "reject", "none"},

		{"the public suffix, for a name that is not registered", "nobody.psd", "", "", "fail", "psd", "quarantine", "quarantine"},
		{"the public suffix, for one without a record", "live.psd", "", "", "fail", "psd", "reject", "reject"},
		{"two registrations below one public suffix", "live.psd", "other.psd", "other.psd", "fail", "psd", "reject", "reject"},
		{"within a registration", "a.live.psd", "b.live.psd", "", "pass", "psd", "reject", "none"},
		{"a registration's own record, and not the suffix's", "reg.psd", "", "", "fail", "reg.psd", "none", "none"},
		{"below it", "host.reg.psd", "", "", "fail", "reg.psd", "none", "none"},
		{"the public suffix itself", "psd", "psd", "", "pass", "psd", "reject", "none"},
		{"a private suffix's tenants are strangers", "tenant.private.psd", "stranger.private.psd", "", "fail", "tenant.private.psd", "quarantine", "quarantine"},
		{"psd=n is an edge", "a.div.big.example", "big.example", "", "fail", "div.big.example", "reject", "reject"},
		{"within that edge", "a.div.big.example", "b.div.big.example", "", "pass", "div.big.example", "reject", "none"},
		{"from outside of that edge", "big.example", "", "div.big.example", "fail", "big.example", "none", "none"},
		{"a long name", "a.b.c.d.e.f.g.h.i.j.mail.example.eu", "g.h.i.j.mail.example.eu", "", "pass", "g.h.i.j.mail.example.eu", "reject", "none"},
		{"and what the walk leaps over", "a.b.c.d.e.f.g.h.i.j.mail.example.fr", "", "", "none", "", "none", "none"},
	} {
		z := &zone{records: world, hosts: map[string]bool{"host.example.com": true, "host.nosp.example": true, "live.psd": true, "a.live.psd": true,
			"host.own.example.com": true, "host.test.example": true, "host.reg.psd": true, "a.div.big.example": true}}
		var p dmarc.Proven
		p.SPF = c.spf
		if c.dkim != "" {
			p.DKIM = strings.Split(c.dkim, ",")
		}
		f := dmarc.Evaluate(t.Context(), z, c.author, p)
		if f.Result != c.result || f.Domain != c.domain || f.Policy != c.policy || f.Disposition != c.disposition {
			t.Errorf("%s: got %s by %q, policy %s, asked %s; want %s by %q, %s, %s", c.name, f.Result, f.Domain, f.Policy, f.Disposition, c.result, c.domain, c.policy, c.disposition)
		}
		if (f.Err != nil) != (f.Result == dmarc.ResultTempError) {
			t.Errorf("%s: got the error %v", c.name, f.Err)
		}
	}
}

func TestTheWalkOfTheRFC(t *testing.T) {
	z := &zone{}
	dmarc.Evaluate(t.Context(), z, "a.b.c.d.e.f.g.h.i.j.mail.example.com", dmarc.Proven{})
	want := "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com _dmarc.g.h.i.j.mail.example.com _dmarc.h.i.j.mail.example.com _dmarc.i.j.mail.example.com " +
		"_dmarc.j.mail.example.com _dmarc.mail.example.com _dmarc.example.com _dmarc.com"
	if got := strings.Join(z.asked, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestOrganizationsOfTheRFC(t *testing.T) {
	for _, c := range []struct {
		records      map[string]string
		domain, want string
	}{
		{map[string]string{"mail.example.com": "v=DMARC1", "example.com": "v=DMARC1"}, "a.mail.example.com", "example.com"},
		{map[string]string{"mail.example.com": "v=DMARC1; psd=n", "example.com": "v=DMARC1"}, "a.mail.example.com", "mail.example.com"},
		{map[string]string{"com": "v=DMARC1; psd=y"}, "a.mail.example.com", "example.com"},
		{map[string]string{"com": "v=DMARC1; psd=y"}, "com", "com"},
		{map[string]string{"example.com": "v=DMARC1; psd=y"}, "a.b.c.d.e.f.g.h.i.example.com", "i.example.com"},
		{nil, "a.mail.example.com", "a.mail.example.com"},
	} {
		got, err := dmarc.Organization(t.Context(), &zone{records: one(c.records)}, c.domain)
		if err != nil || got != c.want {
			t.Errorf("%s with %v: got %s, %v; want %s", c.domain, c.records, got, err, c.want)
		}
	}
}

func TestSeveralRecordsAtOneNameAreNone(t *testing.T) {
	z := &zone{records: map[string][]string{"a.example": {"v=DMARC1; p=reject", "v=DMARC1; p=none"}, "b.example": {"v=spf1 -all", "v=DMARC1; p=reject"}}}
	if f := dmarc.Evaluate(t.Context(), z, "a.example", dmarc.Proven{}); f.Result != dmarc.ResultNone {
		t.Errorf("two records: got %+v", f)
	}
	if f := dmarc.Evaluate(t.Context(), z, "b.example", dmarc.Proven{}); f.Result != dmarc.ResultFail || f.Policy != dmarc.Reject {
		t.Errorf("one of DMARC, and one of SPF: got %+v", f)
	}
}

// TestQuestionsAreBounded lets a message ask for as much as it can.
func TestQuestionsAreBounded(t *testing.T) {
	z := &zone{records: one(map[string]string{"example": "v=DMARC1; p=none"})}
	var p dmarc.Proven
	for i := range 20 {
		p.DKIM = append(p.DKIM, fmt.Sprintf("%sd%d.example.net", strings.Repeat("x.", 90), i))
	}
	p.SPF = strings.Repeat("s.", 100) + "test"
	dmarc.Evaluate(t.Context(), z, strings.Repeat("a.", 100)+"example", p)
	if len(z.asked) > 9 {
		t.Errorf("%d questions for domains that cannot be aligned, want 9 at most", len(z.asked))
	}
}

func FuzzEvaluate(f *testing.F) {
	for _, r := range world {
		f.Add(r[0], "a.b.example")
	}
	f.Add("v=DMARC1; rua=mailto:a%40b@c.example,mailto:%00@x,mailto:a@b!1,http://x", "x.y")
	f.Fuzz(func(t *testing.T, text, author string) {
		z := &zone{records: map[string][]string{"example": {text}, "b.example": {text}}}
		got := dmarc.Evaluate(t.Context(), z, author, dmarc.Proven{SPF: "example", DKIM: []string{"b.example"}})
		if len(z.asked) > 32 {
			t.Errorf("%d questions", len(z.asked))
		}
		if got.Result != dmarc.ResultFail && got.Disposition != dmarc.None {
			t.Errorf("%s asks for %s", got.Result, got.Disposition)
		}
		for _, a := range got.Record.RUA {
			if strings.ContainsAny(a, " \r\n\x00<>") || !strings.Contains(a, "@") {
				t.Errorf("address %q", a)
			}
		}
	})
}
