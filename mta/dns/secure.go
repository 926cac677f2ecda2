package dns

import (
	"context"
	"fmt"
	"net/netip"
)

// Trust says whose AD bit counts: the bit has no signature, so that the server and the way to it must be trusted.
type Trust string

// The values are those of the configuration.
const (
	TrustAuto   Trust = "auto" // of servers on this host, when all of them are: nobody stands between
	TrustAlways Trust = "always"
	TrustNever  Trust = "never"
)

func trusts(t Trust, servers []string) bool {
	if t == TrustAlways || t == TrustNever {
		return t == TrustAlways
	}
	for _, s := range servers {
		if ap, err := netip.ParseAddrPort(s); err != nil || !ap.Addr().Unmap().IsLoopback() {
			return false
		}
	}
	return true
}

// TrustsAD says whether an answer of this Resolver can be secure at all.
func (r *Resolver) TrustsAD() bool { return r.trusted }

// Path is the way to an answer.
type Path struct {
	End    string // where the aliases end; without any, the name that was asked
	Secure bool   // validated by DNSSEC all the way (RFC 4033 5), as a trusted server says
}

// MXPath returns the way to what MX returns, from the cache when MX was asked just before. With ErrNoData and ErrNotFound
// the Path tells how that became known.
func (r *Resolver) MXPath(ctx context.Context, domain string) (Path, error) {
	_, p, err := r.trace(ctx, domain, typeMX)
	return p, err
}

// AddrPath returns the way to a host's addresses: to A, or to AAAA where there is no A.
func (r *Resolver) AddrPath(ctx context.Context, host string) (Path, error) {
	_, p, err := r.trace(ctx, host, typeA)
	if err != nil {
		_, p6, err6 := r.trace(ctx, host, typeAAAA)
		if err6 == nil {
			return p6, nil
		}
	}
	return p, err
}

// AliasPath tells of the CNAME record of a name itself, which may be secure where what it leads to is not (RFC 7672
// 2.2.2). ErrNoData when the name is no alias.
func (r *Resolver) AliasPath(ctx context.Context, name string) (Path, error) {
	_, p, err := r.trace(ctx, name, typeCNAME)
	return p, err
}

// TLSA is one record of RFC 6698 2.1. Data may be empty or of any length.
type TLSA struct {
	Usage    uint8
	Selector uint8
	Matching uint8
	Data     []byte
}

// TLSA returns the records for a port of TCP at a host, such as those of _25._tcp.mx.example.org, with the way to them.
func (r *Resolver) TLSA(ctx context.Context, port uint16, host string) ([]TLSA, Path, error) {
	recs, p, err := r.trace(ctx, fmt.Sprintf("_%d._tcp.%s", port, host), typeTLSA)
	var list []TLSA
	for _, rec := range recs {
		list = append(list, *rec.tlsa)
	}
	return list, p, err
}
