package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/acme"
	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/layout"
	"github.com/posthouse-mail/posthouse/mta/sign"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// certificate puts a certificate where the configuration says.
func (s *setup) certificate() error {
	t := s.cfg.TLS
	if t.Certificate == "" {
		s.say("no certificate: %s has no [tls]; without it nobody can log in over the network", s.path)
		return nil
	}
	_, err := os.Stat(t.Certificate)
	there := err == nil
	switch {
	case s.cert != "":
		return s.copyCertificate()
	case there:
		s.say("kept %s", t.Certificate)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	k, err := s.firstKey()
	if err != nil {
		return err
	}
	cert, key, err := selfSigned(s.hostname, k, time.Now())
	if err != nil {
		return err
	}
	if err := s.putCertificate(cert, key); err != nil {
		return err
	}
	if len(acme.Targets(s.cfg)) > 0 {
		s.say("made %s, which stands in until posthouse cert has obtained one", t.Certificate)
		return nil
	}
	s.say("made %s, which has signed itself: mail programs ask whether to trust it", t.Certificate)
	return nil
}

// firstKey is the key of the first certificate. Where one is to be obtained, that is for the same key, so that a TLSA record
// holds from the beginning.
func (s *setup) firstKey() (crypto.Signer, error) {
	for _, t := range acme.Targets(s.cfg) {
		if t.Certificate == s.cfg.TLS.Certificate {
			return acme.Key(t, filepath.Join(s.cfg.State, "acme"), s.cfg.ACME.Output)
		}
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// readCertificate reads the files that the operator has named, and holds them against each other.
func (s *setup) readCertificate() error {
	if s.cert == "" {
		return nil
	}
	for i, file := range []string{s.cert, s.key} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s.pair[i] = text
	}
	pair, err := tls.X509KeyPair(s.pair[0], s.pair[1])
	if err != nil {
		return &codedError{exitData, fmt.Errorf("%s and %s: %w", s.cert, s.key, err)}
	}
	if err := pair.Leaf.VerifyHostname(s.hostname); err != nil {
		s.say("warning: %s is not made out to %s: other servers may not trust it", s.cert, s.hostname)
	}
	return nil
}

// copyCertificate copies the operator's files: most are where no daemon may read them.
func (s *setup) copyCertificate() error {
	old, _, err := conffile.Read(s.cfg.TLS.Certificate, tlsconf.MaxPEM)
	if err == nil && bytes.Equal(old, s.pair[0]) {
		s.say("kept %s, which is the same as %s", s.cfg.TLS.Certificate, s.cert)
		return nil
	}
	if err := s.putCertificate(s.pair[0], s.pair[1]); err != nil {
		return err
	}
	s.say("copied %s to %s; run this again after each renewal, the daemons need no restart", s.cert, s.cfg.TLS.Certificate)
	return nil
}

// putCertificate writes the key first: the daemons take up a pair once both fit.
func (s *setup) putCertificate(cert, key []byte) error {
	t := s.cfg.TLS
	for _, path := range []string{t.Key, t.Certificate} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	if err := putFile(t.Key, key, 0o600); err != nil {
		return err
	}
	if err := s.own(t.Key); err != nil {
		return err
	}
	return putFile(t.Certificate, cert, 0o644)
}

// selfSigned makes a certificate for a host; both are PEM.
func selfSigned(hostname string, k crypto.Signer, now time.Time) (cert, key []byte, err error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hostname},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0), DNSNames: []string{hostname},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, // and no authority: whoever trusts it trusts this server alone
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}

// dkim makes the keys that the domain's selectors name. One that begins with ed is an Ed25519 key (RFC 8463).
func (s *setup) dkim() error {
	d := s.cfg.Domain(s.domain) // where the domain is an alias, the one that it stands for
	for _, selector := range d.DKIM {
		file := layout.KeyFile(s.cfg, d.Name, selector)
		if _, err := os.Stat(file); err == nil {
			s.say("kept %s", file)
			continue
		}
		_, text, err := sign.Generate(strings.HasPrefix(selector, "ed"))
		if err != nil {
			return err
		}
		if err := writeKey(file, text); err != nil {
			return err
		}
		if err := s.own(file); err != nil {
			return err
		}
		s.say("made %s", file)
	}
	return nil
}

// newPassword asks for the password of the first user, unless there is one of that name.
func (s *setup) newPassword() error {
	if s.user == "" || s.cfg.Users.InDatabase() {
		return nil
	}
	u := &users{s.cfg, s.cfg.Users.File}
	a, err := s.address()
	if err != nil {
		return err
	}
	if s.isAccount(a) {
		return nil
	}
	if _, err = u.newAddress(a.String()); err != nil {
		return &codedError{exitCantMake, fmt.Errorf("--user: %w", err)}
	}
	if _, err := os.Stat(u.path); err == nil {
		err := u.change(s.cmd.Context(), func(l *directory.Lines) error { return absent(l, a) })
		if errors.Is(err, directory.ErrExists) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if !s.noPassword {
		s.verifiers, err = askVerifiers(s.cmd, s.store, a)
	}
	return err
}

// firstUser adds the user, unless there is one of that name.
func (s *setup) firstUser() error {
	if s.user == "" {
		return nil
	}
	if s.cfg.Users.InDatabase() {
		s.say("the users are in a database, and stay as they are")
		return nil
	}
	u := &users{s.cfg, s.cfg.Users.File}
	a, err := s.address()
	if err != nil {
		return err
	}
	if s.isAccount(a) {
		return nil
	}
	if a, err = u.newAddress(a.String()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(u.path), 0o755); err != nil {
		return err
	}
	err = u.change(s.cmd.Context(), func(l *directory.Lines) error { return l.Add(a, s.verifiers...) })
	if errors.Is(err, directory.ErrExists) {
		s.say("kept %s in %s", a, u.path)
		return nil
	}
	if err != nil {
		return err
	}
	return u.report(s.cmd.ErrOrStderr(), fmt.Sprintf("added %s to %s", a, u.path))
}
