package acme

import (
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"time"
)

// Status is what is known of a target.
type Status struct {
	Target
	Leaf   *x509.Certificate // what the daemons read; nil: none, or Why
	Why    error             // that it could not be read
	Record Record            // empty for all but root and the state's own user

	unknown bool // Record could not be read
}

// Look tells how a target is.
func Look(t Target, state, output string) Status {
	s := Status{Target: t}
	b, err := read(t.Certificate)
	if err == nil {
		if block, _ := pem.Decode(b); block != nil {
			s.Leaf, err = x509.ParseCertificate(block.Bytes)
		}
	}
	s.Why = err
	s.Record, err = readRecord(filepath.Join(state, t.folder(output)))
	s.unknown = err != nil
	return s
}

// StandIn tells whether the certificate in place is one from elsewhere, which was put there until one is obtained.
func (s Status) StandIn() bool {
	switch {
	case s.Leaf == nil:
		return false
	case !s.unknown && s.Record.Obtained.IsZero():
		return true
	}
	return s.Leaf.Issuer.String() == s.Leaf.Subject.String()
}

// Renew is when the certificate is due, the zero time where that is not known.
func (s Status) Renew() time.Time {
	if s.Leaf == nil || s.StandIn() {
		return time.Time{}
	}
	return latest(s.Leaf, s.Record.Renew)
}
