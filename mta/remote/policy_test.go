package remote_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// policies are MTA-STS policies by domain; the text "!" cannot be fetched.
type policies map[string]string

func (p policies) Get(_ context.Context, domain string) (*mtasts.Policy, error) {
	switch text := p[domain]; text {
	case "":
		return nil, nil
	case "!":
		return nil, fmt.Errorf("%w: not there", mtasts.ErrFetch)
	default:
		return mtasts.ParsePolicy("version: STSv1\nmax_age: 1\n" + text)
	}
}

// watcher writes down what it is told, a line a session.
type watcher struct {
	mu   sync.Mutex // guards said
	said []string
}

func (w *watcher) Session(s tlsrpt.Session) {
	line := s.Domain + ":"
	for _, r := range s.Results {
		line += " " + string(r.Policy.Type)
		if r.Failure != nil {
			line += "=" + string(r.Failure.Type)
			if r.Failure.Reason != "" {
				line += "(" + r.Failure.Reason + ")"
			}
		}
	}
	if s.Usable {
		line += " " + s.Level.String()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, line)
}

func digest(usage uint8, c *x509.Certificate) string {
	return fmt.Sprintf("%d 1 1 %x", usage, sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

// tlsa are records for the certificate of certs: "ee", "ta" (whose digest is the authority's), "bad" and "old".
func tlsa(t *testing.T, kind string, c *mtatest.Certs) string {
	t.Helper()
	switch kind {
	case "ee":
		return digest(3, parse(t, c.Leaf.Certificate[0]))
	case "ta":
		return digest(2, parse(t, c.Leaf.Certificate[len(c.Leaf.Certificate)-1]))
	case "old":
		return "1 1 1 00"
	}
	return "3 1 1 " + strings.Repeat("00", 32)
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	enforce = "mode: enforce\nmx: mx.far.test"
	tested  = "mode: testing\nmx: mx.far.test"
	other   = "mode: enforce\nmx: other.test"
	waived  = "TLS-Required: No\r\nSubject: x\r\n\r\ntext\r\n"
)

func TestWhatDANEAndMTASTSAskFor(t *testing.T) {
	trusted, stranger := mtatest.NewCerts(t, "mx.far.test"), mtatest.NewCerts(t, "mx.far.test")
	wrong := mtatest.NewCerts(t, "other.test")
	const ok, clear = "delivered 250 2.0.0 by mx.far.test", "none"
	for _, c := range []struct {
		name   string
		signed string // what DNSSEC vouches for: "all", "mx" (the domain alone), "" nothing
		tlsa   string
		sts    string
		certs  *mtatest.Certs // of the server; nil: no TLS
		body   string
		level  mta.TLSLevel // of the configuration
		want   string
		why    string // what vouches, as the last word of Outcome.TLS; "none" for no TLS, "" for TLS with whoever answers
		told   string
	}{
		{"nothing", "", "", "", stranger, "", "", ok, "", "far.test: no-policy-found encrypted"},
		{"nothing, and no TLS", "", "", "", nil, "", "", ok, clear, "far.test: no-policy-found=starttls-not-supported none"},

		{"DANE mismatch", "all", "bad", "", trusted, "", "", "deferred 451 4.7.5", "", "far.test: tlsa=validation-failure(tlsa-mismatch)"},
		{"DANE without TLS", "all", "ee", "", nil, "", "", "deferred 451 4.7.4", "", "far.test: tlsa=starttls-not-supported"},
		{"DANE, lookup fails", "all", "!", "", trusted, "", "", "deferred 451 4.7.5", "", "far.test: tlsa=dnssec-invalid"},
		{"DANE, lookup fails where it does not apply", "", "!", "", trusted, "", "", ok, "", "far.test: no-policy-found encrypted"},
		{"DANE under a wrong name", "all", "ta", "", wrong, "", "", "deferred 451 4.7.5", "", "far.test: tlsa=certificate-host-mismatch(tlsa-mismatch)"},
		{"DANE of an insecure MX", "", "bad", "", stranger, "", "", ok, "", "far.test: no-policy-found encrypted"},
		{"DANE of an insecure host", "mx", "bad", "", stranger, "", "", ok, "", "far.test: no-policy-found encrypted"},
		{"DANE", "all", "ee", "", stranger, "", "", ok, "dane", "far.test: tlsa authenticated"},
		{"DANE, authority", "all", "ta", "", stranger, "", "", ok, "dane", "far.test: tlsa authenticated"},
		{"DANE, any name", "all", "ee", "", wrong, "", "", ok, "dane", "far.test: tlsa authenticated"},
		{"DANE, unusable records", "all", "old", "", stranger, "", "", ok, "", "far.test: tlsa=tlsa-invalid encrypted"},
		{"DANE, unusable records, no TLS", "all", "old", "", nil, "", "", "deferred 451 4.7.4", "", "far.test: tlsa=tlsa-invalid"},
		{"DANE over a floor of none", "all", "bad", "", trusted, "", mta.TLSNone, "deferred 451 4.7.5", "", "far.test: tlsa=validation-failure(tlsa-mismatch)"},
		{"DANE and a floor of verify", "all", "ee", "", stranger, "", mta.TLSVerify, "deferred 451 4.7.5", "", ""},

		{"enforced, host not allowed", "", "", other, trusted, "", "", "deferred 451 4.7.5", "", "far.test: sts=validation-failure(mx-not-in-policy)"},
		{"enforced, without TLS", "", "", enforce, nil, "", "", "deferred 451 4.7.4", "", "far.test: sts=starttls-not-supported"},
		{"enforced, unknown authority", "", "", enforce, stranger, "", "", "deferred 451 4.7.5", "", "far.test: sts=certificate-not-trusted"},
		{"enforced", "", "", enforce, trusted, "", "", ok, "mta-sts", "far.test: sts authenticated"},
		{"tested, host not allowed", "", "", strings.Replace(other, "enforce", "testing", 1), stranger, "", "", ok, "", "far.test: sts=validation-failure(mx-not-in-policy) encrypted"},
		{"tested, unknown authority", "", "", tested, stranger, "", "", ok, "", "far.test: sts=certificate-not-trusted encrypted"},
		{"tested, without TLS", "", "", tested, nil, "", "", ok, clear, "far.test: sts=starttls-not-supported none"},
		{"tested", "", "", tested, trusted, "", "", ok, "", "far.test: sts encrypted"},
		{"not to be had", "", "", "!", stranger, "", "", ok, "", "far.test: sts=sts-policy-fetch-error encrypted"},

		{"both, DANE mismatch", "all", "bad", enforce, trusted, "", "", "deferred 451 4.7.5", "", "far.test: tlsa=validation-failure(tlsa-mismatch)"},
		{"both, unknown authority", "all", "ee", enforce, stranger, "", "", "deferred 451 4.7.5", "", "far.test: sts=certificate-not-trusted"},
		{"both, host not allowed", "all", "ee", other, trusted, "", "", "deferred 451 4.7.5", "", "far.test: sts=validation-failure(mx-not-in-policy)"},
		{"both", "all", "ee", enforce, trusted, "", "", ok, "dane", "far.test: tlsa sts authenticated"},

		{"waived, DANE mismatch", "all", "bad", "", stranger, waived, "", ok, "", "far.test:"},
		{"waived, enforced and no TLS", "", "", enforce, nil, waived, "", ok, clear, "far.test:"},
		{"waived, but not by the configuration", "", "", "", nil, waived, mta.TLSEncrypt, "deferred 451 4.7.4", "", "far.test:"},
		{"a TLS report", "", "", enforce, trusted, "TLS-Report-Domain: far.test\r\n\r\n", "", ok, "mta-sts", "far.test: authenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t, "far.test. 60 IN MX 10 mx.far.test.", "mx.far.test. 60 IN A 192.0.2.1")
			certs := c.certs
			sink := &mtatest.Sink{}
			if certs != nil {
				sink.Config = certs.Server()
			} else {
				certs = trusted
			}
			switch name := "_25._tcp.mx.far.test"; c.tlsa {
			case "":
			case "!":
				n.zone.Rcode(name, wire.RcodeServerFailure)
			default:
				if err := n.zone.Add(name + ". 60 IN TLSA " + tlsa(t, c.tlsa, certs)); err != nil {
					t.Fatal(err)
				}
			}
			switch c.signed {
			case "all":
				n.zone.Sign(".far.test", "far.test")
			case "mx":
				n.zone.Sign("far.test")
			}
			w := &watcher{}
			n.opt.Roots, n.opt.DANE, n.opt.STS, n.opt.Watcher, n.opt.TLS = trusted.Pool, true, policies{"far.test": c.sts}, w, c.level
			n.host("192.0.2.1", sink)
			body := c.body
			if body == "" {
				body = text
			}
			got := n.sendTo(mta.Destination{Domain: "far.test"}, body, "x@far.test")
			n.expect("outcome", got, c.want)
			if got[0].Status == mta.Delivered {
				words := strings.Fields(got[0].TLS + " none")
				why := strings.Join(words[min(2, len(words)-1):len(words)-1], " ")
				if got[0].TLS == "" {
					why = clear
				}
				if why != c.why {
					t.Errorf("TLS is %q, want it to end in %q", got[0].TLS, c.why)
				}
			} else if len(sink.Messages()) != 0 {
				t.Errorf("messages: got %v, want none", sink.Messages())
			}
			if told := strings.Join(w.said, "; "); told != strings.TrimSuffix(c.told, " ") && c.told != "" {
				t.Errorf("told %q, want %q", told, c.told)
			}
		})
	}
}

func TestAnExchangerNamedByItsAddressIsHeldAgainstTheDomainsPolicy(t *testing.T) {
	for _, c := range []struct{ domain, record, sts, want string }{
		{"far.test", "far.test. 60 IN MX 10 192.0.2.1.", enforce, "deferred 451 4.7.5"}, // a forged record
		{"far.test", "far.test. 60 IN MX 10 192.0.2.1.", tested, "delivered 250 2.0.0 by 192.0.2.1"},
		{"far.test", "far.test. 60 IN MX 10 192.0.2.1.", "", "delivered 250 2.0.0 by 192.0.2.1"},
		{"[192.0.2.1]", "other.test. 60 IN A 192.0.2.1", enforce, "delivered 250 2.0.0 by 192.0.2.1"}, // no domain, no policy
	} {
		n := newNetwork(t, c.record)
		s := n.host("192.0.2.1", &mtatest.Sink{})
		n.opt.STS = policies{"far.test": c.sts, "[192.0.2.1]": c.sts}
		got := n.send(c.domain, "x@"+c.domain)
		n.expect(c.domain+" "+c.sts, got, c.want)
		if got[0].Status != mta.Delivered && len(s.Commands()) > 0 {
			t.Errorf("%s: the host heard %q", c.domain, s.Commands())
		}
	}
}

func TestSmartHostsAndDANE(t *testing.T) {
	certs, stranger := mtatest.NewCerts(t, "smart.test"), mtatest.NewCerts(t, "smart.test")
	for _, c := range []struct {
		name string
		tlsa string
		dest mta.Destination
		want string
	}{
		{"mismatch", "bad", mta.Destination{}, "deferred 451 4.7.5"},
		{"mismatch, implicit", "bad", mta.Destination{Implicit: true, Port: 25}, "deferred 451 4.7.5"},
		{"match", "ee", mta.Destination{}, "delivered 250 2.0.0 by smart.test"},
		{"match, implicit", "ee", mta.Destination{Implicit: true, Port: 25}, "delivered 250 2.0.0 by smart.test"},
		{"a route that wants no TLS", "bad", mta.Destination{TLS: mta.TLSNone}, "delivered 250 2.0.0 by smart.test"},
		{"a route that wants any", "bad", mta.Destination{TLS: mta.TLSEncrypt}, "deferred 451 4.7.5"},
		{"a store over LMTP", "bad", mta.Destination{LMTP: true}, "delivered 250 2.0.0 by smart.test"},
		{"a name in capitals", "bad", mta.Destination{Host: "SMART.test"}, "deferred 451 4.7.5"},
	} {
		n := newNetwork(t, "smart.test. 60 IN A 192.0.2.1", "_25._tcp.smart.test. 60 IN TLSA "+tlsa(t, c.tlsa, stranger))
		n.zone.Sign(".test")
		n.opt.DANE, n.opt.Roots = true, certs.Pool
		n.host("192.0.2.1", &mtatest.Sink{Config: stranger.Server(), Implicit: c.dest.Implicit, LMTP: c.dest.LMTP})
		d := c.dest
		if d.Domain = "far.test"; d.Host == "" {
			d.Host = "smart.test"
		}
		n.expect(c.name, n.sendTo(d, text, "x@far.test"), c.want)
	}
}

func TestRequireTLS(t *testing.T) {
	trusted, stranger := mtatest.NewCerts(t, "mx.far.test", "smart.test"), mtatest.NewCerts(t, "mx.far.test")
	requires := []string{"REQUIRETLS"}
	const ok, no = "delivered 250 2.0.0 by mx.far.test", "failed 550 5.7.30"
	for _, c := range []struct {
		name   string
		signed bool
		tlsa   string
		sts    string
		sink   *mtatest.Sink
		dest   mta.Destination
		want   string
	}{
		{"nobody vouches for the exchanger", false, "", "", &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{}, no},
		{"tested policy", false, "", tested, &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{}, no},
		{"not announced", true, "ee", "", &mtatest.Sink{Config: trusted.Server()}, mta.Destination{}, no},
		{"no TLS", true, "", "", &mtatest.Sink{Extensions: requires}, mta.Destination{}, no},
		{"secure MX, unknown authority", true, "", "", &mtatest.Sink{Config: stranger.Server(), Extensions: requires}, mta.Destination{}, no},
		{"mismatch", true, "bad", "", &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{}, no},
		{"a failure that may pass", true, "ee", "", &mtatest.Sink{Config: trusted.Server(), Extensions: requires, On: func(c string) string {
			if c == "TLS" {
				return mtatest.Drop
			}
			return ""
		}}, mta.Destination{}, "deferred 451 4.7.5"},
		{"not reachable", true, "ee", "", nil, mta.Destination{}, "deferred 451 4.4.1"},
		{"secure MX", true, "", "", &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{}, ok},
		{"DANE", true, "ee", "", &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{}, ok},
		{"MTA-STS", false, "", enforce, &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{}, ok},
		{"smart host", false, "", "", &mtatest.Sink{Config: trusted.Server(), Extensions: requires}, mta.Destination{Host: "smart.test"}, "delivered 250 2.0.0 by smart.test"},
		{"smart host without", false, "", "", &mtatest.Sink{Config: trusted.Server()}, mta.Destination{Host: "smart.test"}, no},
		{"a store", false, "", "", &mtatest.Sink{LMTP: true}, mta.Destination{Host: "smart.test", LMTP: true}, "delivered 250 2.0.0 by smart.test"},
	} {
		n := newNetwork(t, "far.test. 60 IN MX 10 mx.far.test.", "mx.far.test. 60 IN A 192.0.2.1", "smart.test. 60 IN A 192.0.2.1")
		if c.tlsa != "" {
			if err := n.zone.Add("_25._tcp.mx.far.test. 60 IN TLSA " + tlsa(t, c.tlsa, trusted)); err != nil {
				t.Fatal(err)
			}
		}
		if c.signed {
			n.zone.Sign(".test")
		}
		n.opt.Roots, n.opt.DANE, n.opt.STS = trusted.Pool, true, policies{"far.test": c.sts}
		if c.sink != nil {
			n.host("192.0.2.1", c.sink)
		}
		d := c.dest
		d.Domain = "far.test"
		client := remote.New(n.opt)
		// That the header waives TLS does not count against the parameter.
		r := remote.Request{Dest: d, Sender: addr("alice@our.test"), Content: content(waived), RequireTLS: true, Rcpts: []mta.Recipient{{Address: addr("x@far.test")}}}
		got, _ := client.Deliver(t.Context(), r)
		client.Close()
		n.expect(c.name, got, c.want)
		if c.sink == nil {
			continue
		}
		m := c.sink.Messages()
		if got[0].Status != mta.Delivered && len(m) > 0 {
			t.Errorf("%s: messages %v, want none", c.name, m)
		}
		if len(m) == 1 && !d.LMTP && (!m[0].TLS || !strings.Contains(m[0].Mail, " REQUIRETLS")) {
			t.Errorf("%s: sent %+v, want it with REQUIRETLS over TLS", c.name, m[0])
		}
	}
}

// Of two exchangers the one that holds gets the message, whatever the preference.
func TestTheNextExchangerMayHoldWhatTheFirstDoesNot(t *testing.T) {
	trusted, stranger := mtatest.NewCerts(t, "a.far.test", "b.far.test"), mtatest.NewCerts(t, "a.far.test")
	n := newNetwork(t, "far.test. 60 IN MX 10 a.far.test.", "far.test. 60 IN MX 20 b.far.test.", "a.far.test. 60 IN A 192.0.2.1", "b.far.test. 60 IN A 192.0.2.2")
	n.opt.Roots, n.opt.STS = trusted.Pool, policies{"far.test": "mode: enforce\nmx: *.far.test"}
	n.host("192.0.2.1", &mtatest.Sink{Config: stranger.Server()})
	n.host("192.0.2.2", &mtatest.Sink{Config: trusted.Server()})
	n.expect("one of two", n.send("far.test", "x@far.test"), "delivered 250 2.0.0 by b.far.test")
}

func TestAConnectionIsNoUseToAMessageUnderAnotherPolicy(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.test")
	n := newNetwork(t, "plain.test. 60 IN MX 10 mx.test.", "sts.test. 60 IN MX 10 mx.test.", "dane.test. 60 IN MX 10 mx.test.", "mx.test. 60 IN A 192.0.2.1",
		"_25._tcp.mx.test. 60 IN TLSA "+tlsa(t, "ee", certs))
	n.zone.Sign("dane.test", "mx.test", ".mx.test")
	n.opt.Roots, n.opt.DANE, n.opt.STS = certs.Pool, true, policies{"sts.test": "mode: enforce\nmx: mx.test"}
	s := n.host("192.0.2.1", &mtatest.Sink{Config: certs.Server()})
	c := n.keep()
	for i, step := range []struct {
		domain string
		conns  int
	}{{"plain.test", 1}, {"sts.test", 2}, {"dane.test", 3}, {"plain.test", 3}, {"dane.test", 3}, {"sts.test", 3}} {
		out, _ := n.with(c, step.domain, "x@"+step.domain)
		n.expect(step.domain, out, "delivered 250 2.0.0 by mx.test")
		if s.Conns() != step.conns {
			t.Errorf("message %d, to %s: %d connections, want %d", i, step.domain, s.Conns(), step.conns)
		}
	}
}

func TestFieldsThatWaiveTLS(t *testing.T) {
	for header, waives := range map[string]bool{
		"":                      false,
		"TLS-Required: Yes\r\n": false,
		"TLS-Required: No\r\nTLS-Required: x\r\n":                        false,
		"X: y\r\n TLS-Required: No\r\n":                                  false, // a continuation
		"X: y\r\n\r\nTLS-Required: No\r\n":                               false, // in the body
		"X-TLS-Required: No\r\n":                                         false,
		"X: " + strings.Repeat("y", 64<<10) + "\r\nTLS-Required: No\r\n": false, // beyond what is read
		"tls-required:no\r\n":                                            true,
		"X: y\r\nTLS-Required :\tNO \r\nZ: z\r\n":                        true,
		"TLS-Required: No\r\nTLS-Required: No\r\n":                       true,
	} {
		n := newNetwork(t, "far.test. 60 IN MX 10 mx.far.test.", "mx.far.test. 60 IN A 192.0.2.1")
		n.opt.STS = policies{"far.test": enforce}
		n.host("192.0.2.1", &mtatest.Sink{})
		want := "deferred 451 4.7.4"
		if waives {
			want = "delivered 250 2.0.0 by mx.far.test"
		}
		n.expect(header[:min(len(header), 60)], n.sendTo(mta.Destination{Domain: "far.test"}, header+"\r\ntext\r\n", "x@far.test"), want)
	}
}
