package main

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// signer signs reports, and seals what goes on to other hosts, with the keys of domains.NAME.dkim.
type signer struct {
	hostname string
	keys     map[string][]sign.Key // by domain
	now      func() time.Time
}

var _ runner.Signer = (*signer)(nil)

// newSigner reads the keys.
func newSigner(c *config.Config) (*signer, error) {
	s := &signer{hostname: c.Hostname, keys: map[string][]sign.Key{}, now: time.Now}
	for name, d := range c.Domains {
		for _, sel := range d.DKIM {
			k, err := sign.Load(name, sel, filepath.Join(c.State, "keys", name+"."+sel+".pem"))
			if err != nil {
				return nil, err
			}
			s.keys[name] = append(s.keys[name], k)
		}
	}
	return s, nil
}

// key is the key with a name.
func (s *signer) key(domain, selector string) (sign.Key, bool) {
	for _, k := range s.keys[domain] {
		if strings.EqualFold(k.Selector, selector) {
			return k, true
		}
	}
	return sign.Key{}, false
}

// keysFor are the keys of a domain, or of the nearest one above it: relaxed alignment takes those (RFC 9989 4.10.2).
func (s *signer) keysFor(domain string) []sign.Key {
	for domain != "" {
		if k := s.keys[domain]; len(k) > 0 {
			return k
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return nil
}

// Report implements runner.Signer.
func (s *signer) Report(message []byte) (string, error) {
	keys := s.keysFor(s.hostname)
	if len(keys) == 0 {
		return "", nil
	}
	header, _, err := sign.Head(bytes.NewReader(message))
	if err != nil {
		return "", err
	}
	values, err := sign.Message(bytes.NewReader(message), sign.Names(header), keys)
	var b strings.Builder
	for _, v := range values {
		b.WriteString("DKIM-Signature: " + v + "\r\n")
	}
	return b.String(), err
}

// Forward implements runner.Signer. It seals what came from other hosts, where the filter arc has looked at it, with what the
// filters have found (RFC 8617 5.1). A chain that has failed stays as it is: whoever gets it will find the same.
func (s *signer) Forward(alias mta.Address, e *mta.Envelope, message io.Reader) (string, error) {
	keys := s.keysFor(alias.Domain)
	cv, ok := chainOf(e)
	if e.Role != mta.RoleMX || len(keys) == 0 || !ok {
		return "", nil
	}
	header, body, err := sign.Head(message)
	if errors.Is(err, sign.ErrHead) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	results := ""
	for _, raw := range header { // ours stands before those of others
		if name, value, _ := strings.Cut(raw, ":"); strings.EqualFold(name, "Authentication-Results") {
			results = strings.TrimSpace(value)
			break
		}
	}
	if id, _, _ := strings.Cut(results, ";"); id != s.hostname {
		return "", nil
	}
	set, err := sign.Seal(header, body, results, cv, sealKey(keys), s.now())
	if errors.Is(err, sign.ErrSealed) {
		return "", nil
	}
	return strings.Join(set, ""), err
}

// sealKey is an RSA key where there is one: RFC 8617 knows no other yet.
func sealKey(keys []sign.Key) sign.Key {
	for _, k := range keys {
		if _, ok := k.Signer.Public().(*rsa.PublicKey); ok {
			return k
		}
	}
	return keys[0]
}

// chainOf is what the filter arc has found of a message.
func chainOf(e *mta.Envelope) (sign.CV, bool) {
	var notes struct {
		Results []struct{ Method, Result string }
	}
	if json.Unmarshal(e.Notes, &notes) != nil {
		return "", false
	}
	for _, n := range notes.Results {
		if n.Method == "arc" {
			return sign.CV(n.Result), n.Result == string(sign.CVNone) || n.Result == string(sign.CVPass)
		}
	}
	return "", false
}
