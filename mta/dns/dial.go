package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// maxDials bounds the addresses of a host that are tried.
const maxDials = 4

// Dialer returns Dial for one choice of addresses.
func (r *Resolver) Dialer(want6 bool, allowed func(netip.Addr) bool) func(ctx context.Context, network, hostPort string) (net.Conn, error) {
	return func(ctx context.Context, network, hostPort string) (net.Conn, error) {
		return r.Dial(ctx, network, hostPort, want6, allowed)
	}
}

// Dial connects to a host and port, the host's addresses in turn, without asking the machine's own resolver. Addresses
// that allowed does not want are left out; nil: it wants all.
func (r *Resolver) Dial(ctx context.Context, network, hostPort string, want6 bool, allowed func(netip.Addr) bool) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = r.Addrs(ctx, host, want6); err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range addrs[:min(len(addrs), maxDials)] {
		if allowed != nil && !allowed(a.Unmap()) {
			errs = append(errs, fmt.Errorf("%s has the address %s, which is not allowed", host, a))
			continue
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
