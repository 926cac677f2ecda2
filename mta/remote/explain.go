package remote

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
)

// Explanation is what Deliver would do for a destination just now, as far as that can be known without a connection.
type Explanation struct {
	Site     string         // as Site names it
	Bad      *mta.Outcome   // what its recipients get, as no host can be used; nil: some can
	Hosts    []Host         // the best first; also those that are not used
	STS      *mtasts.Policy // MTA-STS in force or tested; nil: none
	STSErr   error          // why what the domain announces is not in force
	STSAsked bool           // whether there is any; else it does not count here
}

// Host is a mail exchanger, or the host that the configuration names.
type Host struct {
	Name  string
	Pref  int              // of its MX record; -1 = it has none
	Addrs []netip.AddrPort // in the order in which they are tried; none for a Unix socket
	Cut   string           // why it is not used; "" = it is
	Bad   *mta.Outcome     // what is wrong with it; nil = nothing is known to be
	TLS   mta.TLSLevel     // that a connection must have
	By    string           // who asks for a certificate: dane, mta-sts or verify; "" = nobody
	DANE  string           // what DANE says of it; "" = it was not asked
	TLSA  []string         // records, in their text form
}

// Explain says what Deliver would do for a destination. It goes the same way, and connects to nobody but name servers and,
// for an MTA-STS policy, the domain's web server.
func (c *Client) Explain(ctx context.Context, dest mta.Destination) Explanation {
	opt := c.opt
	opt.Watcher = nil
	d := &delivery{c: c, opt: &opt, r: Request{Dest: dest}, fields: &fields{}, start: opt.Now()}
	x := Explanation{Site: c.Site(ctx, dest)}
	groups, bad := d.exchangers(ctx)
	x.Bad = bad
	prefs, cut := d.preferences(ctx)
	own, used := false, false
	for _, g := range groups {
		var hosts []Host
		for _, name := range g {
			h, mine := d.explainHost(ctx, name)
			if p, ok := prefs[name]; ok {
				h.Pref = p
			}
			own = own || mine
			hosts = append(hosts, h)
		}
		for _, h := range hosts {
			if own {
				h.Cut = "this host takes mail at its address, or at that of one as good or better"
			} else {
				d.explainTLS(ctx, &h)
				used = used || h.Bad == nil
			}
			x.Hosts = append(x.Hosts, h)
		}
	}
	x.Hosts = append(x.Hosts, cut...)
	if x.Bad == nil && !used {
		x.Bad = d.sum(x.Hosts, own)
	}
	x.STS, x.STSErr, x.STSAsked = d.sts, d.stsErr, d.stsAsked
	return x
}

// sum is what recipients get when no host can be used, as walk has it.
func (d *delivery) sum(hosts []Host, own bool) *mta.Outcome {
	d.said = false
	for _, h := range hosts {
		if h.Bad != nil && h.Cut == "" {
			d.remember(*h.Bad)
		}
	}
	if own || !d.said {
		d.remember(d.ourselves())
	}
	return &d.last
}

// preferences are those of the MX records, and the hosts that group has left out.
func (d *delivery) preferences(ctx context.Context) (prefs map[string]int, cut []Host) {
	if d.r.Dest.Named() {
		return nil, nil
	}
	list, err := d.opt.Resolver.MX(ctx, d.r.Dest.Domain)
	if err != nil { // exchangers says so
		return nil, nil
	}
	kept := slices.Concat(d.group(list)...)
	prefs = map[string]int{}
	for i, m := range list {
		prefs[m.Host] = int(m.Pref)
		switch {
		case slices.Contains(kept, m.Host):
		case i >= maxHosts:
			cut = append(cut, Host{Name: m.Host, Pref: int(m.Pref), Cut: "no more than " + strconv.Itoa(maxHosts) + " are looked at"})
		case strings.EqualFold(m.Host, d.opt.Hostname):
			cut = append(cut, Host{Name: m.Host, Pref: int(m.Pref), Cut: "it is this host"})
		default:
			cut = append(cut, Host{Name: m.Host, Pref: int(m.Pref), Cut: "it is no better than this host"})
		}
	}
	return prefs, cut
}

// explainHost looks a host's addresses up; own says that one of them is ours.
func (d *delivery) explainHost(ctx context.Context, name string) (h Host, own bool) {
	h = Host{Name: name, Pref: -1}
	d.said = false
	peers, own := d.peers(ctx, []string{name})
	for _, p := range peers {
		if p.path == "" {
			h.Addrs = append(h.Addrs, p.addr)
		}
	}
	if d.said {
		bad := d.last
		h.Bad = &bad
	}
	return h, own
}

// explainTLS says what the host must do about TLS.
func (d *delivery) explainTLS(ctx context.Context, h *Host) {
	if h.Bad != nil {
		return
	}
	pol, bad := d.policy(ctx, h.Name)
	h.Bad = bad
	h.TLS, h.By, h.DANE = pol.level, pol.why, pol.dane
	if pol.records != nil {
		h.TLSA = lines(pol.records)
	}
}
