package tlsconf_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// shown returns the certificate that a client gets who asks for name.
func shown(t *testing.T, s *tlsconf.Server, client *tls.Config, name string) []byte {
	t.Helper()
	client = client.Clone()
	client.ServerName = name
	state, _, err := handshake(t, s.Config(), client)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return state.PeerCertificates[0].Raw
}

func TestClientsGetTheCertificateOfTheNameThatTheyAskFor(t *testing.T) {
	main, exact, wild := mtatest.NewCerts(t, "mail.example.org"), mtatest.NewCerts(t, "a.example.net"), mtatest.NewCerts(t, "*.example.net")
	o := only(main, "1.2")
	o.Others = []tlsconf.Named{
		{Names: []string{"*.example.net", "example.com"}, Certificate: wild.CertFile, Key: wild.KeyFile},
		{Names: []string{"a.example.net"}, Certificate: exact.CertFile, Key: exact.KeyFile},
	}
	s, err := tlsconf.Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := tlsconf.Client(tlsconf.Unverified, "")
	for name, want := range map[string]*mtatest.Certs{
		"": main, "mail.example.org": main, "192.0.2.1": main, "example.net": main, "x.y.example.net": main, "net": main,
		"a.example.net": exact, "A.Example.NET": exact, "b.example.net": wild, "example.com": wild,
	} {
		if got := shown(t, s, client, name); !bytes.Equal(got, want.Leaf.Leaf.Raw) {
			t.Errorf("%q: got another certificate than that for %v", name, want.Leaf.Leaf.DNSNames)
		}
		if got := s.Certificate(name); !got.Equal(want.Leaf.Leaf) {
			t.Errorf("Certificate(%q): got that for %v, want that for %v", name, got.DNSNames, want.Leaf.Leaf.DNSNames)
		}
	}
}

// rsaPair writes a certificate with an RSA key for name.
func rsaPair(t *testing.T, name string) (certFile, keyFile string, raw []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(3), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	raw, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: raw}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, raw
}

func TestOfTwoKindsOfKeyAClientGetsOneThatItKnows(t *testing.T) {
	ec := mtatest.NewCerts(t, "mail.example.org")
	certFile, keyFile, raw := rsaPair(t, "mail.example.org")
	s, err := tlsconf.Open(tlsconf.Options{Certificate: certFile, Key: keyFile, MinVersion: "1.2",
		Others: []tlsconf.Named{{Names: []string{"mail.example.org"}, Certificate: ec.CertFile, Key: ec.KeyFile}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := tlsconf.Client(tlsconf.Unverified, "")
	old.MaxVersion, old.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if got := shown(t, s, old, "mail.example.org"); !bytes.Equal(got, raw) {
		t.Error("a client that knows RSA alone got something else")
	}
	if got := shown(t, s, tlsconf.Client(tlsconf.Unverified, ""), "mail.example.org"); !bytes.Equal(got, ec.Leaf.Leaf.Raw) {
		t.Error("a client that knows both got the second")
	}
}

func TestOneBadPairLeavesTheOthersAlone(t *testing.T) {
	var c clock
	var log bytes.Buffer
	main, other := mtatest.NewCerts(t, "mail.example.org"), mtatest.NewCerts(t, "a.example.net")
	renewed, otherRenewed := mtatest.NewCerts(t, "mail.example.org"), mtatest.NewCerts(t, "a.example.net")
	o := only(main, "1.2")
	o.Others = []tlsconf.Named{{Names: []string{"a.example.net"}, Certificate: other.CertFile, Key: other.KeyFile}}
	s, err := tlsconf.OpenAt(o, maillog.New(maillog.NewText(&log, slog.LevelInfo)), c.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(main.KeyFile); err != nil {
		t.Fatal(err)
	}
	copyFile(t, otherRenewed.CertFile, other.CertFile)
	copyFile(t, otherRenewed.KeyFile, other.KeyFile)
	c.advance(5 * time.Second)
	client := tlsconf.Client(tlsconf.Unverified, "")
	if got := shown(t, s, client, "mail.example.org"); !bytes.Equal(got, main.Leaf.Leaf.Raw) {
		t.Error("without its key: another certificate")
	}
	if got := shown(t, s, client, "a.example.net"); !bytes.Equal(got, otherRenewed.Leaf.Leaf.Raw) {
		t.Error("the other pair was not renewed")
	}
	copyFile(t, renewed.CertFile, main.CertFile)
	copyFile(t, renewed.KeyFile, main.KeyFile)
	c.advance(5 * time.Second)
	if got := shown(t, s, client, "mail.example.org"); !bytes.Equal(got, renewed.Leaf.Leaf.Raw) {
		t.Error("the renewed pair is not in force")
	}
	for event, want := range map[string]int{"certificate-refused path=" + main.CertFile: 1, "certificate-reloaded path=" + other.CertFile: 1, "certificate-reloaded path=" + main.CertFile: 1} {
		if got := strings.Count(log.String(), "event="+event+" "); got != want {
			t.Errorf("got %d events %s, want %d:\n%s", got, event, want, &log)
		}
	}
}

func TestWithoutTicketsNothingIsResumed(t *testing.T) {
	certs := mtatest.NewCerts(t, "mail.example.org")
	o := only(certs, "1.2")
	o.NoTickets = true
	s, err := tlsconf.Open(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := tlsconf.Client(tlsconf.Verified, "mail.example.org")
	client.RootCAs, client.MaxVersion = certs.Pool, tls.VersionTLS12
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		state, _, err := handshake(t, s.Config(), client)
		if err != nil || state.DidResume {
			t.Errorf("got resumed %v, error %v", state.DidResume, err)
		}
	}
}

// TestEveryCipherSuiteIsForwardSecret: RFC 9325 4.1, 4.2. Those with CBC stay for old mail servers, which would send in the
// clear otherwise.
func TestEveryCipherSuiteIsForwardSecret(t *testing.T) {
	certFile, keyFile, _ := rsaPair(t, "mail.example.org")
	s, err := tlsconf.Open(tlsconf.Options{Certificate: certFile, Key: keyFile, MinVersion: "1.2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var taken []string
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		client := tlsconf.Client(tlsconf.Unverified, "mail.example.org")
		client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
		if _, _, err := handshake(t, s.Config(), client); err == nil {
			taken = append(taken, suite.Name)
		}
	}
	slices.Sort(taken)
	want := []string{
		"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	}
	if !slices.Equal(taken, want) {
		t.Errorf("got %q\nwant %q", taken, want)
	}
}
