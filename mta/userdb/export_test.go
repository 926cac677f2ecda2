package userdb

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// OpenLDAP opens a directory; roots are whom it trusts.
func OpenLDAP(text string, c config.LDAP, roots *x509.CertPool) (directory.Verifier, error) {
	s, err := openLDAP(text, c)
	if err != nil {
		return nil, err
	}
	for _, p := range []*ldapPool{s.searches, s.logins} {
		ours := p.clientTLS
		p.clientTLS = func(name string) *tls.Config {
			c := ours(name)
			c.RootCAs = roots
			return c
		}
	}
	return s, nil
}

// NoRest has the next question connect, however short ago a connection was refused.
func NoRest(v directory.Verifier) {
	s := v.(*directoryServer)
	for _, p := range []*ldapPool{s.searches, s.logins} {
		p.mu.Lock()
		p.rest = p.rest.Add(-restTime)
		p.mu.Unlock()
	}
}

var ErrLong = errLong
