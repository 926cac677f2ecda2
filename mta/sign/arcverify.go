package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// TXT asks DNS for the texts of a name.
type TXT func(ctx context.Context, name string) ([]string, error)

// ErrKeyLater says that a key could not be looked up now.
var ErrKeyLater = errors.New("key not found now")

// Validate validates a chain that is not empty (RFC 8617 5.2): nil = pass. header is what the chain was read from, body what stands
// behind the empty line. It asks DNS once for each key, of which there are 51 at most.
func (c *Chain) Validate(ctx context.Context, txt TXT, header []string, body io.Reader) error {
	switch {
	case c.Err != nil:
		return c.Err
	case c.Failed():
		return fmt.Errorf("i=%d: cv=fail", len(c.Sets))
	}
	keys := keyring{txt: txt, known: map[string]keyAnswer{}}
	last := c.Sets[len(c.Sets)-1]
	if err := last.verifyMessage(ctx, &keys, header, body); err != nil {
		return fmt.Errorf("i=%d: message: %w", len(c.Sets), err)
	}
	for i := len(c.Sets) - 1; i >= 0; i-- {
		if err := keys.verify(ctx, c.Sets[i].seal, c.sealed(i)); err != nil {
			return fmt.Errorf("i=%d: seal: %w", i+1, err)
		}
	}
	return nil
}

// verifyMessage verifies the ARC-Message-Signature.
func (s *Set) verifyMessage(ctx context.Context, keys *keyring, header []string, body io.Reader) error {
	names := strings.Split(s.signature["h"], ":")
	lower := strings.ToLower(s.signature["h"])
	switch list := strings.Split(lower, ":"); {
	case len(names) > maxSigned:
		return errors.New("too many names in h=")
	case !slices.Contains(list, "from"):
		return errors.New("the From field is not signed")
	case slices.Contains(list, strings.ToLower(arcSeal)): // RFC 8617 4.1.2
		return errors.New("h= names " + arcSeal)
	}
	head, tail, _ := strings.Cut(s.signature["c"], "/")
	for _, form := range []string{head, tail} {
		if form != "" && form != "simple" && form != "relaxed" {
			return fmt.Errorf("c=%.30s", s.signature["c"])
		}
	}
	h := newBodyHash(tail == "relaxed")
	if _, err := io.Copy(h, body); err != nil {
		return err
	}
	if want, err := base64.StdEncoding.DecodeString(s.signature["bh"]); err != nil || !bytes.Equal(h.sum(), want) {
		return errors.New("the body has changed")
	}
	return keys.verify(ctx, s.signature, signed(header, names, s.raw[1], head == "relaxed"))
}

// keyring remembers the keys of one message.
type keyring struct {
	txt   TXT
	known map[string]keyAnswer
}

type keyAnswer struct {
	key crypto.PublicKey
	err error
}

// verify holds a signature against what it covers.
func (r *keyring) verify(ctx context.Context, tags map[string]string, covered string) error {
	sig, err := base64.StdEncoding.DecodeString(tags["b"])
	if err != nil || len(sig) == 0 {
		return errors.New("b= is no signature")
	}
	kind, hashName, _ := strings.Cut(tags["a"], "-")
	if hashName != "sha256" || kind != "rsa" && kind != "ed25519" {
		return fmt.Errorf("a=%.30s", tags["a"])
	}
	if tags["s"] == "" || tags["d"] == "" {
		return errors.New("no key is named")
	}
	name := tags["s"] + "._domainkey." + tags["d"]
	a, ok := r.known[name+" "+kind]
	if !ok {
		a.key, a.err = publicKey(ctx, r.txt, name, kind)
		r.known[name+" "+kind] = a
	}
	if a.err != nil {
		return a.err
	}
	sum := sha256.Sum256([]byte(covered))
	switch k := a.key.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, sum[:], sig)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], sig) == nil
	}
	if !ok {
		return errors.New("the signature does not fit")
	}
	return nil
}

// publicKey reads a key's record (RFC 6376 3.6.1).
func publicKey(ctx context.Context, txt TXT, name, kind string) (crypto.PublicKey, error) {
	texts, err := txt(ctx, name)
	switch {
	case dns.Permanent(err) || err == nil && len(texts) == 0:
		return nil, errors.New("no such key")
	case err != nil:
		return nil, ErrKeyLater
	}
	tags, ok := tagList(texts[0])
	if v, has := tags["v"]; !ok || has && v != "DKIM1" {
		return nil, errors.New("the key's record is none")
	}
	if k := tags["k"]; k != kind && (k != "" || kind != "rsa") {
		return nil, errors.New("a key of another kind")
	}
	if h, has := tags["h"]; has && !slices.Contains(strings.Split(h, ":"), "sha256") {
		return nil, errors.New("a key for other hashes")
	}
	if s, has := tags["s"]; has && !slices.ContainsFunc(strings.Split(s, ":"), func(s string) bool { return s == "*" || s == "email" }) {
		return nil, errors.New("a key for other services")
	}
	der, err := base64.StdEncoding.DecodeString(tags["p"])
	if err != nil || len(der) == 0 {
		return nil, errors.New("the key is revoked, or is none")
	}
	if kind == "ed25519" {
		if len(der) != ed25519.PublicKeySize {
			return nil, errors.New("the key is none")
		}
		return ed25519.PublicKey(der), nil
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		pub, err = x509.ParsePKCS1PublicKey(der)
	}
	k, isRSA := pub.(*rsa.PublicKey)
	if err != nil || !isRSA {
		return nil, errors.New("the key is none")
	}
	if n := k.N.BitLen(); n < minRSA || n > 2*maxRSA {
		return nil, fmt.Errorf("an RSA key of %d bits", n)
	}
	return k, nil
}
