package remote

import (
	"net"
	"net/netip"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// ownSockets returns a function that says whether an address is one where our smtpd takes mail for our domains: a mail
// exchanger there is ourselves, whatever its name. The machine's addresses are read now.
func ownSockets(c *config.Config) (func(netip.AddrPort) bool, error) {
	exact := map[netip.AddrPort]bool{}
	wild := map[uint16]bool{}
	for _, l := range c.SMTPD.Listen {
		network, where, err := config.SplitListen(l.Address)
		if err != nil || network != "tcp" || l.Role != "mx" {
			continue
		}
		if where[0] == ':' {
			where = "0.0.0.0" + where
		}
		at, err := netip.ParseAddrPort(where)
		switch {
		case err != nil:
			return nil, err
		case at.Addr().IsUnspecified():
			wild[at.Port()] = true
		default:
			exact[netip.AddrPortFrom(at.Addr().Unmap(), at.Port())] = true
		}
	}
	here := map[netip.Addr]bool{}
	if len(wild) > 0 {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				here[p.Addr().Unmap()] = true
			}
		}
	}
	return func(a netip.AddrPort) bool {
		ip := a.Addr().Unmap()
		return exact[netip.AddrPortFrom(ip, a.Port())] || wild[a.Port()] && (ip.IsLoopback() || here[ip])
	}, nil
}
