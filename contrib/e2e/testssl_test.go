package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestTestsslFindsNothingAboveLow lets testssl.sh look at the ports of smtpd and pop3d. It takes minutes: `make testssl` asks for it.
func TestTestsslFindsNothingAboveLow(t *testing.T) {
	if os.Getenv("POSTHOUSE_TESTSSL") == "" {
		t.Skip("POSTHOUSE_TESTSSL is not set")
	}
	testssl := mtatest.Need(t, "testssl")
	i := newInstance(t, options{})
	authority := filepath.Join(i.dir, "ca.pem")
	lastingCertificate(t, i, authority)
	i.smtpd, i.pop3d = i.launch("smtpd"), i.launch("pop3d")
	i.smtpd.Await(t, "event=ready")
	i.pop3d.Await(t, "event=ready")
	for _, c := range []struct {
		name, addr string
		args       []string
	}{
		{"25 with STARTTLS", i.mx, []string{"-t", "smtp"}},
		{"587 with STARTTLS", i.submission, []string{"-t", "smtp"}},
		{"465", i.submissions, nil},
		{"110 with STLS", i.pop3, []string{"-t", "pop3"}},
		{"995", i.pop3s, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "findings.json")
			args := append([]string{"--quiet", "--color", "0", "--warnings", "off", "--add-ca", authority, "--ip", i.ip, "--jsonfile", out}, c.args...)
			cmd := exec.CommandContext(t.Context(), testssl, append(args, fmt.Sprintf("mx.%s:%s", i.domain, port(c.addr)))...)
			text, _ := cmd.CombinedOutput() // its status counts findings of any kind
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			var findings []struct{ ID, Severity, Finding string }
			if err := json.Unmarshal(b, &findings); err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			count := map[string]int{}
			for _, f := range findings {
				switch count[f.Severity]++; f.Severity {
				case "MEDIUM", "HIGH", "CRITICAL", "FATAL":
					t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
				case "LOW":
					t.Logf("LOW: %s: %s", f.ID, f.Finding)
				}
			}
			t.Logf("findings: %v", count)
			if count["OK"] < 20 {
				t.Errorf("it looked at too little:\n%s", text)
			}
		})
	}
}

// lastingCertificate gives an instance a certificate as an authority's: good for 80 days, with a place where it would be
// revoked.
func lastingCertificate(t *testing.T, i *instance, authority string) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(81 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	name := "mx." + i.domain
	leaf := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: ca.NotBefore,
		NotAfter: time.Now().Add(80 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CRLDistributionPoints: []string{"http://127.0.0.1:9/ca.crl"}}
	signed := func(c *x509.Certificate, k *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, k.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	caPEM := signed(ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Write(t, authority, string(caPEM))
	mtatest.Write(t, i.certs.CertFile, string(signed(leaf, leafKey))+string(caPEM))
	mtatest.Write(t, i.certs.KeyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}
