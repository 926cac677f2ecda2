package sign

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// The sizes of an RSA key, in bits: verifiers need take no smaller one (RFC 8301 3.2), and a larger one's record does not
// fit everywhere.
const (
	minRSA = 1024
	newRSA = 2048
	maxRSA = 4096
)

// maxKeyFile bounds a key's file, octets.
const maxKeyFile = 64 << 10

// Key is a private key of a domain.
type Key struct {
	Domain   string
	Selector string
	Signer   crypto.Signer
}

// Load reads the key in the file at path.
func Load(domain, selector, path string) (Key, error) {
	b, _, err := conffile.Read(path, maxKeyFile)
	if err != nil {
		return Key{}, err
	}
	s, err := Parse(b)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return Key{domain, selector, s}, nil
}

// Parse reads a private key: PEM of PKCS #8, or of PKCS #1 for RSA.
func Parse(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	if block.Type == "RSA PRIVATE KEY" {
		k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PKCS #1: %w", err)
		}
		return checked(k)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("PKCS #8: %w", err)
	}
	return checked(k)
}

func checked(k any) (crypto.Signer, error) {
	switch k := k.(type) {
	case ed25519.PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, fmt.Errorf("an RSA key of %d bits; allowed: %d to %d", n, minRSA, maxRSA)
		}
		return k, nil
	}
	return nil, fmt.Errorf("a key of type %T; allowed: RSA and Ed25519", k)
}

// Generate makes a new key, and its file.
func Generate(ed bool) (crypto.Signer, []byte, error) {
	var k crypto.Signer
	var err error
	if ed {
		_, k, err = ed25519.GenerateKey(rand.Reader)
	} else {
		k, err = rsa.GenerateKey(rand.Reader, newRSA)
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return k, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Name is where a key's record stands in DNS (RFC 6376 3.6.2.1).
func (k Key) Name() string { return k.Selector + "._domainkey." + k.Domain }

// Record is what DNS has to say of the key (RFC 6376 3.6.1, RFC 8463 4.2).
func (k Key) Record() (string, error) {
	public, kind, err := k.public()
	if err != nil {
		return "", err
	}
	return "v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(public), nil
}

func (k Key) public() (octets []byte, kind string, err error) {
	switch p := k.Signer.Public().(type) {
	case ed25519.PublicKey:
		return p, "ed25519", nil
	case *rsa.PublicKey:
		octets, err = x509.MarshalPKIXPublicKey(p)
		return octets, "rsa", err
	}
	return nil, "", fmt.Errorf("a key of type %T", k.Signer)
}

// Compare says what is wrong in a record that DNS has for the key; nil when verifiers will find the key in it.
func (k Key) Compare(record string) error {
	if strings.ContainsAny(record, "\"\\") {
		return errors.New("there are quotation marks or backslashes in it: they belong to a zone file, and not to the record")
	}
	tags := map[string]string{}
	for tag := range strings.SplitSeq(record, ";") {
		name, value, ok := strings.Cut(tag, "=")
		if ok {
			tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
		}
	}
	public, kind, err := k.public()
	if err != nil {
		return err
	}
	if v, ok := tags["v"]; ok && v != "DKIM1" {
		return fmt.Errorf("v=%s, want DKIM1", v)
	}
	if have, ok := tags["k"]; ok && have != kind || !ok && kind != "rsa" {
		return fmt.Errorf("k=%s, the key is %s", have, kind)
	}
	for tag, want := range map[string]string{"h": "sha256", "s": "email"} { // RFC 6376 3.6.1
		if have, ok := tags[tag]; ok && !slices.Contains(strings.Split(have, ":"), want) && !(tag == "s" && slices.Contains(strings.Split(have, ":"), "*")) {
			return fmt.Errorf("%s=%s lets no signature of ours be verified: take it out", tag, have)
		}
	}
	p, ok := tags["p"]
	if !ok {
		return errors.New("it has no p=")
	}
	if p == "" {
		return errors.New("p= is empty: the key is revoked")
	}
	want := base64.StdEncoding.EncodeToString(public)
	if len(p) < len(want) && strings.HasPrefix(want, p) {
		return fmt.Errorf("p= is cut off after %d of %d characters: a text longer than 255 takes several strings", len(p), len(want))
	}
	got, err := base64.StdEncoding.DecodeString(p)
	if err != nil || !bytes.Equal(got, public) {
		return errors.New("p= is another key")
	}
	return nil
}
