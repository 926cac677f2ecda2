package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// The levels of a finding. A fault costs mail, or makes others refuse it; a warning is what could be better.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelFault   = "fault"
)

// dnsTimeout bounds all that one check asks of others.
const dnsTimeout = 2 * time.Minute

// finding is what one check of one thing has shown.
type finding struct {
	Check   string `json:"check"`
	Level   string `json:"level"`
	Subject string `json:"subject"`       // a domain, a host or an address
	Text    string `json:"text"`          // what is there, and what follows from that
	Fix     string `json:"fix,omitempty"` // the record to publish, or what to do
}

// dnsCheck compares what others see of this host with what they should see.
type dnsCheck struct {
	cfg   *config.Config
	r     *dns.Resolver
	zones map[string]*zone
	addrs []netip.Addr // that DNS gives this host
	found []finding
}

func (k *dnsCheck) add(check, level, subject, fix, format string, args ...any) {
	if level == levelOK {
		fix = ""
	}
	k.found = append(k.found, finding{check, level, subject, fmt.Sprintf(format, args...), fix})
}

// checkPublished is `posthouse check --dns`.
func checkPublished(ctx context.Context, path, probe string, asJSON bool, out, errOut io.Writer) error {
	cfg, err := config.Read(path)
	if err != nil {
		return coded(err)
	}
	r, err := remote.ResolverFromConfig(cfg)
	if err != nil {
		return coded(err)
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	k := &dnsCheck{cfg: cfg, r: r, zones: map[string]*zone{}}
	k.host(ctx)
	for _, name := range cfg.LocalDomains() {
		if d := cfg.Domains[name]; !d.Implicit && d.Mailboxes != "relay" {
			k.domain(ctx, name)
		}
	}
	k.tlsa(ctx)
	k.outbound(ctx, probe)
	k.machine()
	return k.report(asJSON, out, errOut)
}

func (k *dnsCheck) report(asJSON bool, out, errOut io.Writer) error {
	faults := 0
	for _, f := range k.found {
		if f.Level == levelFault {
			faults++
		}
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(k.found); err != nil {
			return coded(err)
		}
	} else {
		for _, f := range k.found {
			to := out
			if f.Level == levelFault {
				to = errOut
			}
			fmt.Fprintf(to, "%s: %s: %s: %s\n", f.Level, f.Check, f.Subject, printable(f.Text))
			if f.Fix != "" {
				fmt.Fprintf(to, "    %s\n", f.Fix)
			}
		}
	}
	if faults > 0 {
		return &codedError{exitFound, fmt.Errorf("%s in what others see", count(faults, "fault"))}
	}
	return nil
}

// missing tells of a question without an answer: that nothing is there costs more than that nobody answers now.
func (k *dnsCheck) missing(check, level, subject, fix string, err error) {
	if !dns.Permanent(err) {
		level = levelWarning
	}
	k.add(check, level, subject, fix, "%v", err)
}

// host checks the addresses behind the host's name, and the names behind those.
func (k *dnsCheck) host(ctx context.Context) {
	host := k.cfg.Hostname
	addrs, err := k.r.Addrs(ctx, host, true)
	if err != nil {
		fix := host + ". IN A ..., this host's public address"
		if own := publicAddresses(); len(own) > 0 {
			fix = rr{name: host, kind: map[bool]string{true: "A", false: "AAAA"}[own[0].Is4()], value: own[0].String()}.line()
		}
		k.missing("address", levelFault, host, fix, err)
		return
	}
	k.addrs = addrs
	for _, a := range addrs {
		k.add("address", levelOK, host, "", "%s", a)
		k.reverse(ctx, a)
	}
}

func (k *dnsCheck) reverse(ctx context.Context, a netip.Addr) {
	host := k.cfg.Hostname
	fix := fmt.Sprintf("let the provider of %s set its name (PTR) to %s", a, host)
	names, err := k.r.Name(ctx, a)
	switch {
	case err != nil:
		k.missing("ptr", levelFault, a.String(), fix, err)
	case slices.Contains(names, host):
		k.add("ptr", levelOK, a.String(), "", "%s, which leads back", host)
	default:
		k.add("ptr", levelFault, a.String(), fix, "its name is %s, and mail from it says it is %s: many refuse that", strings.Join(names, ", "), host)
	}
}

// domain checks all that a domain publishes.
func (k *dnsCheck) domain(ctx context.Context, name string) {
	z, err := newZone(k.cfg, name, nil)
	if err != nil {
		k.add("dkim", levelFault, name, "posthouse setup "+name, "%v", err)
		return
	}
	k.zones[name] = z
	k.mx(ctx, z)
	k.spf(ctx, name, rr{name: name, kind: "TXT", value: z.find(name, "TXT")[0]}.line())
	k.dkim(ctx, name)
	k.text(ctx, z, "dmarc", "_dmarc."+name, "v=DMARC1", "others do not know what to think of mail that says it is from here")
	k.text(ctx, z, "tlsrpt", "_smtp._tls."+name, "v=TLSRPTv1", "nobody tells when mail cannot be sent here over TLS")
	k.sts(ctx, z)
}

func (k *dnsCheck) mx(ctx context.Context, z *zone) {
	fix := rr{name: z.domain, kind: "MX", value: z.find(z.domain, "MX")[0]}.line()
	list, err := k.r.MX(ctx, z.domain)
	if err != nil {
		k.missing("mx", levelFault, z.domain, fix, err)
		return
	}
	var hosts []string
	for _, m := range list {
		hosts = append(hosts, m.Host)
	}
	if !slices.Contains(hosts, z.host) {
		k.add("mx", levelFault, z.domain, fix, "mail goes to %s, and not to this host", strings.Join(hosts, ", "))
		return
	}
	k.add("mx", levelOK, z.domain, "", "%s", strings.Join(hosts, ", "))
}

func (k *dnsCheck) dkim(ctx context.Context, name string) {
	d := k.cfg.Domain(name)
	if len(d.DKIM) == 0 {
		k.add("dkim", levelWarning, name, "posthouse dkim keygen "+d.Name, "nothing is signed")
	}
	for _, selector := range d.DKIM {
		at := selector + "._domainkey." + d.Name
		if err := checkKey(ctx, k.r, k.cfg, d.Name, selector); err != nil {
			fix := ""
			if values := k.zones[name].find(at, "TXT"); len(values) > 0 {
				fix = rr{name: at, kind: "TXT", value: values[0]}.line()
			}
			k.add("dkim", levelFault, at, fix, "%v", err)
			continue
		}
		k.add("dkim", levelOK, at, "", "is this host's key")
	}
}

// text checks a record that begins with a version; there must be one and no more.
func (k *dnsCheck) text(ctx context.Context, z *zone, check, name, version, without string) {
	fix := rr{name: name, kind: "TXT", value: z.find(name, "TXT")[0]}.line()
	all, err := k.r.TXT(ctx, name)
	if err != nil && !dns.Permanent(err) {
		k.missing(check, levelWarning, name, fix, err)
		return
	}
	all = slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, version) })
	switch len(all) {
	case 0:
		k.add(check, levelWarning, name, fix, "no record: %s", without)
	case 1:
		k.add(check, levelOK, name, "", "%s", all[0])
	default:
		k.add(check, levelFault, name, fix, "%d records, which count as none: leave one", len(all))
	}
}

// sts checks that the policy can be had, and that it names this host.
func (k *dnsCheck) sts(ctx context.Context, z *zone) {
	name := "_mta-sts." + z.domain
	all, err := k.r.TXT(ctx, name)
	if err != nil || len(all) == 0 {
		fix := rr{name: name, kind: "TXT", value: z.stsRecord()}.line() + ", and a policy: posthouse setup " + z.domain + " prints it"
		k.add("mta-sts", levelWarning, z.domain, fix, "no record: others take any certificate from whoever answers for this host")
		return
	}
	// Whatever queue-runner has kept of it: what is published now is what counts.
	none, err := os.MkdirTemp("", "posthouse-check-")
	if err != nil {
		k.add("mta-sts", levelWarning, z.domain, "", "%v", err)
		return
	}
	defer os.RemoveAll(none)
	cache, err := mtasts.Open(mtasts.Options{
		Dir: none, ReadOnly: true, Resolver: k.r, TLS: tlsconf.Client(tlsconf.Verified, ""), Dial: k.r.Dialer(k.cfg.Outbound.IPv6, nil),
	})
	if err != nil {
		k.add("mta-sts", levelWarning, z.domain, "", "%v", err)
		return
	}
	policy, err := cache.Get(ctx, z.domain)
	fix := "https://mta-sts." + z.domain + "/.well-known/mta-sts.txt: posthouse setup " + z.domain + " prints what it should say"
	switch {
	case err != nil:
		k.add("mta-sts", levelFault, z.domain, fix, "%v", err)
	case policy == nil:
		k.add("mta-sts", levelFault, z.domain, fix, "%q is no record of MTA-STS", all[0])
	case policy.Mode != mtasts.None && !policy.Allows(z.host):
		k.add("mta-sts", levelFault, z.domain, fix, "the policy allows %s, and not this host: those who obey it send no mail here", strings.Join(policy.MX, ", "))
	default:
		k.add("mta-sts", levelOK, z.domain, "", "mode %s", policy.Mode)
	}
}

// errNoOwn says that a certificate could not be read; the ordinary check tells why.
var errNoOwn = errors.New("no certificate")
