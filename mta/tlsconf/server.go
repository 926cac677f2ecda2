// Package tlsconf is the only place that says how TLS is spoken here: versions, certificates, verification. smtpd and pop3d
// take a Server, which follows changes of its certificate; whoever connects out takes Client. It obeys RFC 8996 (nothing below
// TLS 1.2) and RFC 9325; for SMTP between servers RFC 3207 and RFC 7435; for several names RFC 6066 3 (SNI). The cipher
// suites are the library's own choice, forward secret all of them; a test holds what that is.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

const checkEvery = 5 * time.Second

// Options of a Server.
type Options struct {
	Certificate, Key string // files, PEM: for clients that name no host, or none of Others
	Others           []Named
	MinVersion       string // "1.2" or "1.3"

	// NoTickets gives clients nothing to resume a session with. The mail servers of outlook.com break off connections to a
	// server built on crypto/tls that does, and never try in the clear.
	NoTickets bool
}

// Named is a certificate for clients that ask for one of its names. A name is a host's, or "*.example.org" for those with
// one label more. Two may have the same name: a client gets the first whose kind of key it knows.
type Named struct {
	Names            []string
	Certificate, Key string
}

// FromConfig takes what the configuration says; c.Certificate must not be empty.
func FromConfig(c config.TLS) Options {
	o := Options{Certificate: c.Certificate, Key: c.Key, MinVersion: c.MinVersion}
	for _, s := range c.SNI {
		o.Others = append(o.Others, Named{s.Names, s.Certificate, s.Key})
	}
	return o
}

// Server is certificates with their keys, and the configuration that presents them. Handshakes look for changed files, at
// most every five seconds; a pair that cannot be used leaves the old one in force. It is safe for use by many goroutines.
type Server struct {
	log    *maillog.Log
	now    func() time.Time
	config *tls.Config
	pairs  []*pair            // pairs[0] is for all others
	byName map[string][]*pair // in lower case

	mu      sync.Mutex // guards checked, and what pairs know of their files; held while those are read
	checked time.Time
}

// Open reads the certificate chains and their keys. It refuses a key that others can read and a pair that does not match.
// Later changes go to log, which may be nil.
func Open(o Options, log *maillog.Log) (*Server, error) { return open(o, log, time.Now) }

func open(o Options, log *maillog.Log, now func() time.Time) (*Server, error) {
	version, err := parseVersion(o.MinVersion)
	if err != nil {
		return nil, err
	}
	s := &Server{log: log, now: now, checked: now(), byName: map[string][]*pair{}}
	for _, n := range append([]Named{{nil, o.Certificate, o.Key}}, o.Others...) {
		p, err := openPair(n.Certificate, n.Key)
		if err != nil {
			return nil, err
		}
		s.pairs = append(s.pairs, p)
		for _, name := range n.Names {
			name = strings.ToLower(name)
			s.byName[name] = append(s.byName[name], p)
		}
	}
	// One Config for all connections: it rotates the keys of session tickets itself.
	s.config = &tls.Config{MinVersion: version, GetCertificate: s.certificate, SessionTicketsDisabled: o.NoTickets}
	return s, nil
}

func parseVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("TLS version %.16q; allowed: 1.2, 1.3", s)
}

// Config returns the configuration for all connections of a server; it must not be changed.
func (s *Server) Config() *tls.Config { return s.config }

// Certificate returns the leaf certificate in force for a name; "" or one that none is for, that for all others.
func (s *Server) Certificate(name string) *x509.Certificate {
	for _, p := range s.named(name) {
		return p.cert.Load().Leaf
	}
	return s.pairs[0].cert.Load().Leaf
}

// Reload reads all pairs now; one that has an error stays as it was.
func (s *Server) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all error
	for _, p := range s.pairs {
		all = errors.Join(all, p.reload(s.log))
	}
	return all
}

// Expires is when the first of the certificates in force ends. It looks for changed files as a handshake does.
func (s *Server) Expires() time.Time {
	s.look()
	var first time.Time
	for _, p := range s.pairs {
		if at := p.cert.Load().Leaf.NotAfter; first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// look reads changed files, unless another goroutine does, or has done so a moment ago.
func (s *Server) look() {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.checked); age < 0 || age >= checkEvery {
		s.checked = now
		for _, p := range s.pairs {
			p.check(s.log)
		}
	}
}

// certificate is what a handshake asks. One of several at once looks at the files; the others go on with the pairs there are.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.look()
	asked := *hello
	asked.ServerName = "" // whether the certificate is made out to the name is the operator's affair
	for _, p := range s.named(hello.ServerName) {
		if c := p.cert.Load(); asked.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return s.pairs[0].cert.Load(), nil
}

// named returns the pairs for a name: its own before those of its wildcard.
func (s *Server) named(name string) []*pair {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	_, parent, _ := strings.Cut(name, ".")
	if all := s.byName[name]; len(all) > 0 || parent == "" {
		return all
	}
	return s.byName["*."+parent]
}
