package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Fields of a TLSA record (RFC 7218).
const (
	usageTA = 2
	usageEE = 3

	selectorCert = 0
	selectorSPKI = 1

	matchFull   = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// ErrMismatch says that no record vouches for the certificate.
var ErrMismatch = errors.New("certificate matches no TLSA record")

// usable returns the records that a client of SMTP can use (RFC 7672 3.1), of several digests of one thing the strongest
// alone (RFC 7671 9).
func usable(list []dns.TLSA) []dns.TLSA {
	strongest := map[[2]uint8]uint8{}
	for _, r := range list {
		if k := [2]uint8{r.Usage, r.Selector}; isUsable(r) {
			strongest[k] = max(strongest[k], r.Matching)
		}
	}
	var out []dns.TLSA
	for _, r := range list {
		if isUsable(r) && (r.Matching == matchFull || r.Matching == strongest[[2]uint8{r.Usage, r.Selector}]) {
			out = append(out, r)
		}
	}
	return out
}

func isUsable(r dns.TLSA) bool {
	if r.Usage != usageTA && r.Usage != usageEE || r.Selector > selectorSPKI {
		return false
	}
	switch r.Matching {
	case matchFull:
		var err error
		if r.Selector == selectorCert {
			_, err = x509.ParseCertificate(r.Data)
		} else {
			_, err = x509.ParsePKIXPublicKey(r.Data)
		}
		return err == nil
	case matchSHA256:
		return len(r.Data) == sha256.Size
	case matchSHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Verify holds the certificates of a connection against the usable records. Names are the reference identifiers, one of
// which a certificate under a trust anchor must have (RFC 7672 3.2.2); one that a record names itself may have any name and
// any dates (RFC 7672 3.1.1). The error is ErrMismatch, with what crypto/x509 says of a chain to an anchor.
func (r *Records) Verify(state tls.ConnectionState, names []string, now time.Time) error {
	chain := state.PeerCertificates
	if len(chain) == 0 {
		return fmt.Errorf("%w: there is none", ErrMismatch)
	}
	anchors, found := x509.NewCertPool(), false
	for _, rec := range r.Usable {
		if rec.Usage == usageEE {
			if matches(rec, chain[0]) {
				return nil
			}
			continue
		}
		if rec.Selector == selectorCert && rec.Matching == matchFull { // the server need not send it (RFC 7671 5.2.2)
			if c, err := x509.ParseCertificate(rec.Data); err == nil {
				anchors.AddCert(c)
				found = true
			}
		}
		for _, c := range chain {
			if matches(rec, c) {
				anchors.AddCert(c)
				found = true
			}
		}
	}
	if !found {
		return ErrMismatch
	}
	return verifyChain(chain, anchors, names, now)
}

func verifyChain(chain []*x509.Certificate, anchors *x509.CertPool, names []string, now time.Time) error {
	o := x509.VerifyOptions{Roots: anchors, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	var first error
	for _, n := range names {
		err := chain[0].VerifyHostname(n)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return fmt.Errorf("%w: %w", ErrMismatch, first)
}

func matches(r dns.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == selectorSPKI {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		return bytes.Equal(sum[:], r.Data)
	case matchSHA512:
		sum := sha512.Sum512(data)
		return bytes.Equal(sum[:], r.Data)
	}
	return bytes.Equal(data, r.Data)
}
