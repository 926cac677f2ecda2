package dane

import (
	"context"
	"fmt"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Resolver asks what Find needs; *dns.Resolver is one. Its errors are those of package dns.
type Resolver interface {
	AddrPath(ctx context.Context, host string) (dns.Path, error)
	AliasPath(ctx context.Context, name string) (dns.Path, error)
	TLSA(ctx context.Context, port uint16, host string) ([]dns.TLSA, dns.Path, error)
}

// Records are a host's TLSA records, which DNSSEC vouches for.
type Records struct {
	Base   string     // the TLSA base domain: what SNI tells, and the first reference identifier (RFC 7672 2.2.3, 8.1)
	All    []dns.TLSA // at least one
	Usable []dns.TLSA // of All; none: the server must use TLS, and no certificate can be right or wrong (RFC 7672 2.2)
}

// RecordsOf are the records of a host whoever vouches for them, to hold its owner's certificate against.
func RecordsOf(host string, list []dns.TLSA) *Records { return &Records{host, list, usable(list)} }

// Find looks for the records of a host's port. Nil without an error: DANE does not apply to the host. An error means that
// nobody can say whether it applies, so that the host must not be used (RFC 7672 2.1.2).
//
// The addresses are asked for first, and where those are not secure there is no question for TLSA records: some servers of
// unsigned zones do not answer it (RFC 7672 2.2.2). Of an alias, the records at the end of the chain count, then those of
// the name itself; where only the alias is secure, those of the name alone.
func Find(ctx context.Context, r Resolver, host string, port uint16) (*Records, error) {
	path, err := r.AddrPath(ctx, host)
	if err != nil {
		return nil, unlessPermanent(err)
	}
	var bases []string
	switch {
	case path.Secure && path.End != host:
		bases = []string{path.End, host}
	case path.Secure:
		bases = []string{host}
	case path.End != host:
		alias, err := r.AliasPath(ctx, host)
		if err != nil {
			return nil, unlessPermanent(err)
		}
		if alias.Secure {
			bases = []string{host}
		}
	}
	for _, base := range bases {
		list, path, err := r.TLSA(ctx, port, base)
		if err != nil && !dns.Permanent(err) {
			return nil, fmt.Errorf("find TLSA records of %s: %w", host, err)
		}
		if err == nil && path.Secure {
			return RecordsOf(base, list), nil
		}
	}
	return nil, nil
}

func unlessPermanent(err error) error {
	if dns.Permanent(err) {
		return nil
	}
	return err
}
