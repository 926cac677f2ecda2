package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// The levels of a finding. A fault costs mail, or makes others refuse it; a warning is what could be better; unknown is what
// nobody has answered.
const (
	levelOK      = "ok"
	levelUnknown = "unknown"
	levelWarning = "warning"
	levelFault   = "fault"
)

// dnsTimeout bounds all that one check asks of others, and dnsAtOnce how much of that goes on at one time.
const (
	dnsTimeout = 2 * time.Minute
	dnsAtOnce  = 16
)

// finding is what one check of one thing has shown.
type finding struct {
	Check   string `json:"check"`
	Level   string `json:"level"`
	Subject string `json:"subject"`       // a domain, a host or an address
	Text    string `json:"text"`          // what is there, and what follows from that
	Fix     string `json:"fix,omitempty"` // the record to publish, or what to do
}

// findings are those of one part of the check.
type findings []finding

func (f *findings) add(check, level, subject, fix, format string, args ...any) {
	if level == levelOK {
		fix = ""
	}
	*f = append(*f, finding{check, level, subject, fmt.Sprintf(format, args...), fix})
}

// missing tells of a question without an answer: that nothing is there is known, that nobody answers now says nothing.
func (f *findings) missing(check, level, subject, fix string, err error) {
	if !dns.Permanent(err) {
		level = levelUnknown
	}
	f.add(check, level, subject, fix, "%v", err)
}

// dnsCheck compares what others see of this host with what they should see.
type dnsCheck struct {
	cfg    *config.Config
	r      *dns.Resolver
	dial   func(ctx context.Context, network, hostPort string) (net.Conn, error)
	client *tls.Config  // to verify others' certificates with, and this host's as others do
	own    []netip.Addr // of this machine's interfaces
	leaves []netip.Addr // from which connections to the world leave

	addrs []netip.Addr // that DNS gives this host
	list  findings
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
	k := &dnsCheck{
		cfg: cfg, r: r, dial: r.Dialer(cfg.Outbound.IPv6, nil), client: tlsconf.Client(tlsconf.Verified, ""),
		own: interfaceAddresses(), leaves: leavesFrom(cfg),
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	k.all(ctx, probe)
	return k.report(asJSON, out, errOut)
}

// all makes the checks. What depends on nothing else goes on beside the rest: a server that does not answer costs its time once.
func (k *dnsCheck) all(ctx context.Context, probe string) {
	if !k.host(ctx, &k.list) {
		k.machine(&k.list)
		return
	}
	var parts []func(*findings)
	ask := func(f func(context.Context, *findings)) { parts = append(parts, func(l *findings) { f(ctx, l) }) }
	ask(k.names)
	ask(k.helo)
	for _, name := range k.cfg.LocalDomains() {
		d := k.cfg.Domains[name]
		if d.Implicit || d.Mailboxes == "relay" {
			continue
		}
		z, _ := newZone(k.cfg, name, nil) // a key that cannot be read is told of where it is compared
		for _, f := range []func(context.Context, *zone, *findings){k.mx, k.spf, k.dkim, k.dmarc, k.tlsrpt, k.sts} {
			ask(func(ctx context.Context, l *findings) { f(ctx, z, l) })
		}
	}
	ask(k.tlsa)
	ask(func(ctx context.Context, l *findings) { k.outbound(ctx, probe, l) })
	ask(func(_ context.Context, l *findings) { k.machine(l) })

	found := make([]findings, len(parts))
	turn := make(chan struct{}, dnsAtOnce)
	var wait sync.WaitGroup
	for i, part := range parts {
		turn <- struct{}{}
		wait.Go(func() {
			part(&found[i])
			<-turn
		})
	}
	wait.Wait()
	for _, list := range found {
		k.list = append(k.list, list...)
	}
}

func (k *dnsCheck) report(asJSON bool, out, errOut io.Writer) error {
	levels := map[string]int{}
	for _, f := range k.list {
		levels[f.Level]++
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(k.list); err != nil {
			return coded(err)
		}
	} else {
		for _, f := range k.list {
			to := out
			if f.Level == levelFault {
				to = errOut
			}
			fmt.Fprintf(to, "%s: %s: %s: %s\n", f.Level, f.Check, f.Subject, printable(f.Text))
			if f.Fix != "" {
				fmt.Fprintf(to, "    %s\n", printable(f.Fix))
			}
		}
	}
	switch {
	case levels[levelFault] > 0:
		return &codedError{exitFound, fmt.Errorf("%s in what others see", count(levels[levelFault], "fault"))}
	case levels[levelUnknown] > 0:
		return &codedError{exitTemporary, fmt.Errorf("%s without an answer; try again later", count(levels[levelUnknown], "question"))}
	}
	return nil
}
