package dane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta/dane"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const fake = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

func resolver(t *testing.T, z *mtatest.Zone) *dns.Resolver {
	t.Helper()
	r, err := dns.New(dns.Options{Servers: []string{z.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhereTheRecordsAreLookedFor(t *testing.T) {
	z := mtatest.NewZone(t,
		"bare.sec.test. 60 IN A 192.0.2.1",
		"good.sec.test. 60 IN A 192.0.2.1", "_25._tcp.good.sec.test. 60 IN TLSA "+fake,
		"good.plain.test. 60 IN A 192.0.2.1", "_25._tcp.good.plain.test. 60 IN TLSA "+fake,
		// Aliases: to a host with records, to one without, and out of what is signed.
		"end.sec.test. 60 IN CNAME good.sec.test.", "_25._tcp.end.sec.test. 60 IN TLSA "+fake,
		"own.sec.test. 60 IN CNAME bare.sec.test.", "_25._tcp.own.sec.test. 60 IN TLSA "+fake,
		"out.sec.test. 60 IN CNAME good.plain.test.", "_25._tcp.out.sec.test. 60 IN TLSA "+fake,
		"in.plain.test. 60 IN CNAME good.sec.test.", "_25._tcp.in.plain.test. 60 IN TLSA "+fake,
		// Records that are themselves insecure, or whose server fails.
		"lost.sec.test. 60 IN A 192.0.2.1", "_25._tcp.lost.sec.test. 60 IN CNAME tlsa.plain.test.", "tlsa.plain.test. 60 IN TLSA "+fake,
		"fail.sec.test. 60 IN A 192.0.2.1",
		"failplain.test. 60 IN A 192.0.2.1",
		"old.sec.test. 60 IN A 192.0.2.1", "_25._tcp.old.sec.test. 60 IN TLSA 1 1 1 00",
	)
	z.Sign("sec.test", ".sec.test")
	for _, n := range []string{"_25._tcp.fail.sec.test", "_25._tcp.failplain.test", "bogus.sec.test"} {
		z.Rcode(n, wire.RcodeServerFailure)
	}
	r := resolver(t, z)
	for _, c := range []struct{ host, base string }{ // base "": none; "!": nobody can say
		{"bogus.sec.test", "!"},
		{"fail.sec.test", "!"},
		{"failplain.test", ""}, // never asked
		{"none.sec.test", ""},
		{"bare.sec.test", ""},
		{"good.plain.test", ""},
		{"in.plain.test", ""},
		{"lost.sec.test", ""},
		{"good.sec.test", "good.sec.test"},
		{"end.sec.test", "good.sec.test"},
		{"own.sec.test", "own.sec.test"},
		{"out.sec.test", "out.sec.test"},
		{"old.sec.test", "old.sec.test"},
	} {
		got, err := dane.Find(t.Context(), r, c.host, 25)
		base := ""
		if got != nil {
			base = got.Base
		}
		if err != nil {
			base = "!"
		}
		if base != c.base {
			t.Errorf("%s: got base %q (%v), want %q", c.host, base, err, c.base)
		}
	}
	if old, _ := dane.Find(t.Context(), r, "old.sec.test", 25); old == nil || len(old.All) != 1 || len(old.Usable) != 0 {
		t.Errorf("records that nobody can use: got %+v, want one, and none usable", old)
	}
	if other, err := dane.Find(t.Context(), r, "good.sec.test", 465); other != nil || err != nil {
		t.Errorf("another port: got %+v, %v; want none", other, err)
	}
}

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (a *authority) issue(t *testing.T, ca bool, until time.Time, names ...string) *authority {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprint(names)}, DNSNames: names,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		tmpl.KeyUsage, tmpl.DNSNames = x509.KeyUsageCertSign, nil
	}
	parent, signer := tmpl, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

func record(usage, selector, matching uint8, c *x509.Certificate) string {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		s := sha256.Sum256(data)
		data = s[:]
	case 2:
		s := sha512.Sum512(data)
		data = s[:]
	}
	return fmt.Sprintf("%d %d %d %s", usage, selector, matching, hex.EncodeToString(data))
}

func TestCertificatesAgainstRecords(t *testing.T) {
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	var none *authority
	root, other := none.issue(t, true, tomorrow, "root"), none.issue(t, true, tomorrow, "other")
	mid := root.issue(t, true, tomorrow, "mid")
	leaf, old := mid.issue(t, false, tomorrow, "mx.test"), mid.issue(t, false, yesterday, "mx.test")
	chain := []*x509.Certificate{leaf.cert, mid.cert, root.cert}
	for _, c := range []struct {
		name  string
		recs  []string
		chain []*x509.Certificate
		names []string
		want  string // "": good; "none": no usable record; else a word of the error
	}{
		{"no certificate", []string{record(3, 1, 1, leaf.cert)}, nil, []string{"mx.test"}, "there is none"},
		{"another's certificate", []string{record(3, 1, 1, other.cert)}, chain, []string{"mx.test"}, "matches no TLSA record"},
		{"the authority's digest as the server's", []string{record(3, 1, 1, root.cert)}, chain, []string{"mx.test"}, "matches no TLSA record"},
		{"another authority", []string{record(2, 0, 1, other.cert)}, chain, []string{"mx.test"}, "matches no TLSA record"},
		{"an anchor that is sent and did not sign", []string{record(2, 0, 1, other.cert)}, append(chain[:3:3], other.cert), []string{"mx.test"}, "unknown authority"},
		{"anchor, wrong name", []string{record(2, 0, 1, root.cert)}, chain, []string{"a.test", "b.test"}, "not a.test"},
		{"anchor, expired", []string{record(2, 0, 1, root.cert)}, []*x509.Certificate{old.cert, mid.cert, root.cert}, []string{"mx.test"}, "expired"},
		{"a PKIX usage", []string{record(1, 1, 1, leaf.cert), record(0, 1, 1, root.cert)}, chain, []string{"mx.test"}, "none"},
		{"unknown selector and matching", []string{"3 2 1 " + fake[6:], "3 1 3 " + fake[6:], "9 1 1 " + fake[6:]}, chain, []string{"mx.test"}, "none"},
		{"digests too short or long", []string{"3 1 1 00", "3 1 2 " + fake[6:], "3 1 1 " + fake[6:] + "00"}, chain, []string{"mx.test"}, "none"},
		{"what is no certificate and no key", []string{"3 0 0 00", "2 0 0 ffff", "3 1 0 00"}, chain, []string{"mx.test"}, "none"},
		{"weak digest right, strong one wrong", []string{record(3, 1, 1, leaf.cert), record(3, 1, 2, other.cert)}, chain, []string{"mx.test"}, "matches no TLSA record"},

		{"key, SHA-256", []string{record(3, 1, 1, leaf.cert)}, chain, nil, ""},
		{"key, SHA-512", []string{record(3, 1, 2, leaf.cert)}, chain, nil, ""},
		{"certificate, SHA-256", []string{record(3, 0, 1, leaf.cert)}, chain, nil, ""},
		{"whole certificate", []string{record(3, 0, 0, leaf.cert)}, chain, nil, ""},
		{"whole key", []string{record(3, 1, 0, leaf.cert)}, chain, nil, ""},
		{"expired, of another name", []string{record(3, 1, 1, old.cert)}, []*x509.Certificate{old.cert}, []string{"a.test"}, ""},
		{"second of two", []string{record(3, 1, 1, other.cert), record(3, 1, 1, leaf.cert)}, chain, nil, ""},
		{"beside unusable ones", []string{"3 9 9 00", record(3, 1, 1, leaf.cert)}, chain, nil, ""},
		{"weak digest of another selector", []string{record(3, 0, 1, leaf.cert), record(3, 1, 2, other.cert)}, chain, nil, ""},
		{"anchor", []string{record(2, 0, 1, root.cert)}, chain, []string{"mx.test"}, ""},
		{"anchor's key", []string{record(2, 1, 1, root.cert)}, chain, []string{"mx.test"}, ""},
		{"anchor in the middle", []string{record(2, 0, 1, mid.cert)}, chain[:2], []string{"mx.test"}, ""},
		{"anchor not sent", []string{record(2, 0, 0, root.cert)}, chain[:2], []string{"mx.test"}, ""},
		{"anchor, second name", []string{record(2, 0, 1, root.cert)}, chain, []string{"a.test", "mx.test"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var rrs []string
			for _, r := range c.recs {
				rrs = append(rrs, "_25._tcp.mx.test. 60 IN TLSA "+r)
			}
			z := mtatest.NewZone(t, append(rrs, "mx.test. 60 IN A 192.0.2.1")...)
			z.Sign(".test")
			r, err := dane.Find(t.Context(), resolver(t, z), "mx.test", 25)
			if err != nil || r == nil {
				t.Fatalf("got %v, %v; want records", r, err)
			}
			if c.want == "none" {
				if len(r.Usable) > 0 {
					t.Errorf("usable: got %v, want none", r.Usable)
				}
				return
			}
			err = r.Verify(tls.ConnectionState{PeerCertificates: c.chain}, c.names, time.Now())
			if c.want == "" && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if c.want != "" && (!errors.Is(err, dane.ErrMismatch) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want ErrMismatch with %q", err, c.want)
			}
		})
	}
}
