// Package tlsconf is the only place that says how TLS is spoken here: versions, certificates, verification. smtpd and pop3d
// take a Server, which follows changes of its certificate; whoever connects out takes Client. It obeys RFC 8996 (nothing below
// TLS 1.2) and RFC 9325; for SMTP between servers RFC 3207 and RFC 7435.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

const (
	checkEvery = 5 * time.Second
	maxPEM     = 1 << 20
)

// Server is a certificate with its key, and the configuration that presents it. Handshakes look for a changed pair, at most
// every five seconds; a pair that cannot be used leaves the old one in force. It is safe for use by many goroutines.
type Server struct {
	certFile, keyFile string
	log               *maillog.Log
	now               func() time.Time
	config            *tls.Config
	pair              atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // guards the fields below; held while the files are read
	checked time.Time
	seen    [2]stamp
	fault   string // last reported
}

// stamp is what changes when a file does.
type stamp struct {
	mtime time.Time
	size  int64
	mode  os.FileMode
	inode uint64
}

// Open reads a certificate chain and its key, both PEM. minVersion is "1.2" or "1.3". It refuses a key that others can read
// and a pair that does not match. Later changes go to log, which may be nil.
func Open(certFile, keyFile, minVersion string, log *maillog.Log) (*Server, error) {
	return open(certFile, keyFile, minVersion, log, time.Now)
}

func open(certFile, keyFile, minVersion string, log *maillog.Log, now func() time.Time) (*Server, error) {
	version, err := parseVersion(minVersion)
	if err != nil {
		return nil, err
	}
	s := &Server{certFile: certFile, keyFile: keyFile, log: log, now: now, checked: now()}
	if s.seen, err = s.stamps(); err != nil {
		return nil, err
	}
	pair, err := s.load()
	if err != nil {
		return nil, err
	}
	s.pair.Store(pair)
	// One Config for all connections: it rotates the keys of session tickets itself.
	s.config = &tls.Config{MinVersion: version, GetCertificate: s.certificate}
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

// Certificate returns the leaf certificate in force.
func (s *Server) Certificate() *x509.Certificate { return s.pair.Load().Leaf }

// Reload reads the pair now; on error the old one stays in force.
func (s *Server) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload()
}

// certificate is what a handshake asks. One of several at once looks at the files; the others go on with the pair there is.
func (s *Server) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.mu.TryLock() {
		now := s.now()
		if age := now.Sub(s.checked); age < 0 || age >= checkEvery {
			s.checked = now
			if seen, err := s.stamps(); err != nil || seen != s.seen || s.fault != "" {
				_ = s.reload() // it reports
			}
		}
		s.mu.Unlock()
	}
	return s.pair.Load(), nil
}

// reload tells the log of a new pair, and once of each fault. While a fault lasts each check tries again: the two files are
// seldom written at the same moment.
func (s *Server) reload() error {
	seen, err := s.stamps()
	var pair *tls.Certificate
	if err == nil {
		pair, err = s.load()
	}
	if err != nil {
		if err.Error() != s.fault {
			s.fault = err.Error()
			s.log.CertificateRefused(s.certFile, err)
		}
		return err
	}
	same := pair.Leaf.Equal(s.Certificate())
	s.seen, s.fault = seen, ""
	s.pair.Store(pair)
	if !same {
		s.log.CertificateReloaded(s.certFile, pair.Leaf.NotAfter)
	}
	return nil
}

func (s *Server) stamps() (all [2]stamp, err error) {
	for i, name := range []string{s.certFile, s.keyFile} {
		st, err := os.Stat(name)
		if err != nil {
			return all, err
		}
		all[i] = stamp{mtime: st.ModTime(), size: st.Size(), mode: st.Mode()}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			all[i].inode = sys.Ino
		}
	}
	return all, nil
}

func (s *Server) load() (*tls.Certificate, error) {
	cert, _, err := readPEM(s.certFile)
	if err != nil {
		return nil, err
	}
	key, mode, err := readPEM(s.keyFile)
	if err != nil {
		return nil, err
	}
	if mode&0o007 != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets others at the key; allowed: 0640 or less", s.keyFile, mode)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", s.certFile, s.keyFile, err)
	}
	if pair.Leaf == nil {
		return nil, fmt.Errorf("certificate %s: no leaf certificate", s.certFile)
	}
	return &pair, nil
}

// readPEM reads a small regular file and tells its permissions.
func readPEM(name string) ([]byte, os.FileMode, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = errors.New("larger than 1 MB")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	return b, st.Mode().Perm(), nil
}
