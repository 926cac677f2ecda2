package acme

import (
	"crypto/x509"
	"fmt"
	"time"
)

// due says why a certificate is to be renewed, "" where it is not. renew is when the authority has asked for it (RFC 9773),
// the zero time where it has not.
func due(leaf *x509.Certificate, renew, now time.Time) string {
	switch {
	case now.After(leaf.NotAfter):
		return "it has ended"
	case !renew.IsZero() && !now.Before(renew):
		return "the authority asks for it"
	case !now.Before(latest(leaf, renew)):
		return fmt.Sprintf("it ends %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return ""
}

// latest is when a certificate is renewed at the latest: with a third of its life left, or a sixth where the authority has
// named a later moment.
func latest(leaf *x509.Certificate, renew time.Time) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	third, sixth := leaf.NotAfter.Add(-life/3), leaf.NotAfter.Add(-life/6)
	switch {
	case renew.IsZero():
		return third
	case renew.Before(sixth):
		return renew
	}
	return sixth
}
