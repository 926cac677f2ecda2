package mtatest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestAZoneAnswersAsAResolverDoes(t *testing.T) {
	z := NewZone(t, "a.test. 300 IN CNAME b.test.", "b.test. 300 IN A 192.0.2.1", "b.test. 300 IN A 192.0.2.2", "lost.test. 300 IN CNAME none.test.",
		"ring.test. 300 IN CNAME ring.test.", "B.sub.test. 300 IN TXT \"x\"", "cut.test. 300 IN A 192.0.2.3", "fails.test. 300 IN A 192.0.2.4")
	z.Truncate("cut.test")
	z.Rcode("fails.test", dns.RcodeServerFailure)
	z.Sign("a.test", "b.test", ".sub.test", "none.test")
	for _, c := range []struct {
		network, name string
		kind          uint16
		want          string
	}{
		{"udp", "b.test.", dns.TypeA, "NOERROR ad=true tc=false A A"},
		{"tcp", "B.Test.", dns.TypeA, "NOERROR ad=true tc=false A A"},
		{"udp", "a.test.", dns.TypeA, "NOERROR ad=true tc=false CNAME A A"},
		{"udp", "a.test.", dns.TypeCNAME, "NOERROR ad=true tc=false CNAME"},
		{"udp", "b.test.", dns.TypeAAAA, "NOERROR ad=true tc=false"},
		{"udp", "none.test.", dns.TypeA, "NXDOMAIN ad=true tc=false"},
		{"udp", "lost.test.", dns.TypeA, "NXDOMAIN ad=false tc=false CNAME"}, // the alias itself is not signed
		{"udp", "b.sub.test.", dns.TypeTXT, "NOERROR ad=true tc=false TXT"},
		{"udp", "cut.test.", dns.TypeA, "NOERROR ad=false tc=true"},
		{"tcp", "cut.test.", dns.TypeA, "NOERROR ad=false tc=false A"},
		{"udp", "fails.test.", dns.TypeA, "SERVFAIL ad=false tc=false"},
		{"udp", "ring.test.", dns.TypeA, "NOERROR ad=false tc=false" + strings.Repeat(" CNAME", 20)},
	} {
		q := new(dns.Msg)
		q.SetQuestion(c.name, c.kind)
		q.AuthenticatedData = true
		q.SetEdns0(4096, false)
		m, _, err := (&dns.Client{Net: c.network, UDPSize: 4096, Timeout: Patience}).Exchange(q, z.Addr())
		if err != nil {
			t.Errorf("%s by %s: %v", c.name, c.network, err)
			continue
		}
		got := fmt.Sprintf("%s ad=%v tc=%v", dns.RcodeToString[m.Rcode], m.AuthenticatedData, m.Truncated)
		for _, rr := range m.Answer {
			got += " " + dns.TypeToString[rr.Header().Rrtype]
		}
		if got != c.want {
			t.Errorf("%s by %s: got %s, want %s", c.name, c.network, got, c.want)
		}
	}
	if got := z.Queries(); len(got) != 12 || !slices.Contains(got, "tcp A b.test.") || got[0] != "udp A b.test." {
		t.Errorf("got the queries %q", got)
	}
	z.Remove("b.test")
	q := new(dns.Msg)
	q.SetQuestion("b.test.", dns.TypeA) // no AD bit: who does not ask for it is not told
	if m, _, err := (&dns.Client{Timeout: Patience}).Exchange(q, z.Addr()); err != nil || m.Rcode != dns.RcodeNameError || m.AuthenticatedData {
		t.Errorf("after Remove: got %v, %v", m, err)
	}
	if err := z.Add("no record"); err == nil {
		t.Error("a record that is none is taken")
	}
}
