package sign_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/sign"
)

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestBadKeysAreRefused(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"nothing", nil, "no PEM block"},
		{"no PEM", []byte("-----BEGIN PRIVATE KEY-----\nxx"), "no PEM block"},
		{"garbage", pemOf("PRIVATE KEY", []byte("x")), "PKCS #8"},
		{"garbage of RSA", pemOf("RSA PRIVATE KEY", []byte("x")), "PKCS #1"},
		{"a key of another kind", pemOf("PRIVATE KEY", der), "allowed: RSA and Ed25519"},
	} {
		if _, err := sign.Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Load("a.test", "s", path); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a large file: got %v", err)
	}
}

func TestARecordIsComparedWithItsKey(t *testing.T) {
	for _, ed := range []bool{true, false} {
		_, text, err := sign.Generate(ed)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := sign.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		k := sign.Key{Domain: "here.test", Selector: "mail", Signer: signer}
		record, err := k.Record()
		if err != nil || k.Name() != "mail._domainkey.here.test" {
			t.Fatalf("got %s, %q, %v", k.Name(), record, err)
		}
		for _, good := range []string{record, strings.ReplaceAll(record, "; ", ";"), record + "; t=s;", record + "; h=sha1:sha256; s=*", strings.Replace(record, "p=", "p = ", 1)} {
			if err := k.Compare(good); err != nil {
				t.Errorf("%q: %v", good, err)
			}
		}
		for _, c := range []struct{ record, want string }{
			{"", "no p="},
			{"v=DKIM1; k=rsa", "p="},
			{strings.Replace(record, "DKIM1", "DKIM2", 1), "v=DKIM2"},
			{record[:strings.Index(record, "p=")] + "p=", "revoked"},
			{record[:len(record)-8], "cut off"},
			{record[:len(record)-8] + "AAAAAAAA", "another key"},
			{strings.Replace(record, "; p=", "\" \"; p=", 1), "quotation marks"},
			{record + "; h=sha1", "h=sha1"},
			{record + "; s=tlsrpt", "s=tlsrpt"},
			{strings.NewReplacer("k=rsa", "k=ed25519", "k=ed25519", "k=rsa").Replace(record), "the key is"},
		} {
			if err := k.Compare(c.record); err == nil || !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "the key is") {
				t.Errorf("%q: got %v, want %s", c.record, err, c.want)
			}
		}
	}
}
