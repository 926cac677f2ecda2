package remote

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// maxHosts bounds the exchangers of a domain that are looked at.
const maxHosts = 20

// peer is one address of a host, or a Unix socket.
type peer struct {
	host string
	addr netip.AddrPort
	path string
}

func (p peer) String() string {
	if p.path != "" {
		return "unix:" + p.path
	}
	return p.addr.String()
}

// hosts returns the destination's hosts in groups of equal preference, the best first, each in random order (RFC 5321
// 5.1); or why there are none.
func (d *delivery) hosts(ctx context.Context) ([][]string, *mta.Outcome) {
	groups, bad := d.exchangers(ctx)
	for _, g := range groups {
		shuffle(g)
	}
	return groups, bad
}

// exchangers is hosts in the order of the answer.
func (d *delivery) exchangers(ctx context.Context) ([][]string, *mta.Outcome) {
	switch {
	case d.r.Dest.Path != "": // a server on this host
		return [][]string{{d.opt.Hostname}}, nil
	case d.r.Dest.Host != "":
		return [][]string{{d.r.Dest.Host}}, nil
	}
	domain := d.r.Dest.Domain
	if ip, ok := literal(domain); ok {
		return [][]string{{ip.String()}}, nil
	}
	list, err := d.opt.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, dns.ErrNoData):
		list = []dns.MX{{Host: domain}}
	case errors.Is(err, dns.ErrNullMX):
		return nil, ptr(d.failed(556, "5.1.10", "domain "+domain+" takes no mail (null MX)", nil))
	case errors.Is(err, dns.ErrNotFound):
		return nil, ptr(d.failed(550, "5.1.2", "domain "+domain+" does not exist", err))
	case errors.Is(err, dns.ErrBadName):
		return nil, ptr(d.failed(550, "5.1.2", "domain of the recipient is no valid name", err))
	case err != nil:
		return nil, ptr(d.deferred(451, "4.4.3", "mail servers of "+domain+" cannot be looked up", err))
	}
	groups := d.group(list)
	if len(groups) == 0 {
		return nil, ptr(d.ourselves())
	}
	return groups, nil
}

// group cuts ourselves and all that is no better than us off the list.
func (d *delivery) group(list []dns.MX) [][]string {
	var groups [][]string
	for i, m := range list[:min(len(list), maxHosts)] {
		if i == 0 || m.Pref != list[i-1].Pref {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		if strings.EqualFold(m.Host, d.opt.Hostname) {
			groups = groups[:last]
			break
		}
		groups[last] = append(groups[last], m.Host)
	}
	return groups
}

// peers looks up the addresses of a group; own says that one of them is ours.
func (d *delivery) peers(ctx context.Context, group []string) (list []peer, own bool) {
	if path := d.r.Dest.Path; path != "" {
		return []peer{{host: group[0], path: path}}, false
	}
	port := d.port()
	for _, h := range group {
		addrs, err := d.addrs(ctx, h)
		if err != nil {
			d.remember(d.noAddress(h, err))
			continue
		}
		for _, a := range interleave(addrs) {
			p := peer{host: h, addr: netip.AddrPortFrom(a, port)}
			if d.r.Dest.Host == "" && d.opt.Own(p.addr) {
				return nil, true
			}
			list = append(list, p)
		}
	}
	return list, false
}

func (d *delivery) port() uint16 {
	switch {
	case d.r.Dest.Port != 0:
		return uint16(d.r.Dest.Port)
	case d.r.Dest.Implicit:
		return 465
	case d.r.Dest.Host != "":
		return 25
	}
	return uint16(d.opt.Port)
}

func (d *delivery) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	var list []netip.Addr
	ip, err := netip.ParseAddr(host)
	if err == nil {
		list = []netip.Addr{ip.Unmap()}
	} else if list, err = d.opt.Resolver.Addrs(ctx, host, d.opt.IPv6); err != nil {
		return nil, err
	}
	if list = slices.DeleteFunc(slices.Clone(list), ofNoHost); len(list) == 0 {
		return nil, fmt.Errorf("no address of %s is one of a host: %w", host, dns.ErrNoData)
	}
	return list, nil
}

// ofNoHost says that an address is not one of another host, whatever the name service says: the kernel takes the
// unspecified one for this host.
func ofNoHost(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// noAddress is a failure only where the recipient's domain says so for good, not for a host of our own configuration.
func (d *delivery) noAddress(host string, err error) mta.Outcome {
	text := "mail server " + host + " has no address"
	if !dns.Permanent(err) {
		return d.deferred(451, "4.4.3", "mail server "+host+" cannot be looked up", err)
	}
	if d.r.Dest.Host != "" {
		return d.deferred(451, "4.4.4", text, err)
	}
	return d.failed(550, "5.4.4", text, err)
}

// ourselves is for a domain whose best exchanger is this host, although it is not one of our domains: the two daemons
// may have read their configuration at different moments, or it is wrong.
func (d *delivery) ourselves() mta.Outcome {
	return d.deferred(451, "4.3.5", "mail for "+d.r.Dest.Domain+" loops back to this host",
		fmt.Errorf("best MX of %s is this host, but the domain is not in the configuration", d.r.Dest.Domain))
}

// literal reads an address literal (RFC 5321 4.1.3).
func literal(domain string) (netip.Addr, bool) {
	s, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	s = strings.TrimSuffix(s, "]")
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		s = s[5:]
	}
	ip, err := netip.ParseAddr(s)
	return ip, err == nil
}

// interleave puts IPv6 and IPv4 in turn, IPv6 first, so that a family that does not work costs one attempt (RFC 8305 4).
func interleave(addrs []netip.Addr) []netip.Addr {
	var six, four, out []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	for len(six) > 0 || len(four) > 0 {
		if len(six) > 0 {
			out, six = append(out, six[0]), six[1:]
		}
		if len(four) > 0 {
			out, four = append(out, four[0]), four[1:]
		}
	}
	return out
}

func ptr(o mta.Outcome) *mta.Outcome { return &o }
