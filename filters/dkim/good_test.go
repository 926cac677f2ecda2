package dkim_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dkim"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

func TestIsAGoodFilter(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "example.org.test.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	filtertest.Run(t, filtertest.Suite{
		New:  func() filters.Filter { return &dkim.Filter{Version: "test"} },
		Site: filters.Site{DKIMKeys: []filters.DKIMKey{{Domain: "example.org", Selector: "test", Path: path}}},
		Bad:  []string{"[settings]\nverify = [\"everywhere\"]\n", "[settings]\nsign = [\"mx\", 1]\n", "[settings]\nmax_signatures = 0\n"},
	})
}
