package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/remote"
)

// Bounds of the destinations of an alias.
const (
	maxExplained  = 20 // they are looked up; of the others the names are told
	explainAtOnce = 8
)

// destination is a place off this host.
type destination struct {
	Name      string               `json:"name"`
	For       []string             `json:"for"` // recipients
	Way       string               `json:"way"`
	Site      string               `json:"site"`
	Reply     string               `json:"reply,omitempty"` // what recipients get, as no host can be used
	Cause     string               `json:"cause,omitempty"`
	Hosts     []hostSeen           `json:"hosts,omitempty"`
	MTASTS    *stsPolicy           `json:"mta_sts,omitempty"`
	STSError  string               `json:"mta_sts_error,omitempty"`
	Queue     *control.Destination `json:"queue,omitempty"` // how queue-runner sees it; none: no mail goes there now
	temporary bool
	stsAsked  bool
}

// hostSeen is a mail exchanger.
type hostSeen struct {
	Name       string   `json:"name"`
	Preference *int     `json:"preference,omitempty"` // none: it has no MX record
	Addresses  []string `json:"addresses,omitempty"`
	Unused     string   `json:"unused,omitempty"` // why it is not used
	Problem    string   `json:"problem,omitempty"`
	TLS        string   `json:"tls,omitempty"` // none, opportunistic, encrypt or verify
	By         string   `json:"tls_by,omitempty"`
	DANE       string   `json:"dane,omitempty"`
	TLSA       []string `json:"tlsa,omitempty"`
}

// stsPolicy is what a domain's MTA-STS says.
type stsPolicy struct {
	Mode   string   `json:"mode"`
	MX     []string `json:"mx"`
	MaxAge int      `json:"max_age"` // seconds
}

// destinations explains the places off this host where the message goes.
func (e *explainer) destinations(ctx context.Context, x *explanation) {
	places := map[mta.Destination]int{}
	var dests []mta.Destination
	for _, t := range append([]target{{Member: x.LookedUp, Destination: x.Destination, Way: x.Way, dest: x.dest}}, x.Members...) {
		if t.Destination == "" {
			continue
		}
		n, known := places[t.dest]
		if !known {
			n = len(dests)
			places[t.dest] = n
			dests = append(dests, t.dest)
			x.Destinations = append(x.Destinations, destination{Name: t.Destination, Way: t.Way})
		}
		x.Destinations[n].For = append(x.Destinations[n].For, t.Member)
	}
	if len(dests) == 0 {
		return
	}
	if e.cfg.Outbound.DANE && !e.trust {
		x.Notes = append(x.Notes, fmt.Sprintf("DANE counts for nothing: outbound.dnssec is %q, and the answers of the name servers are not trusted", e.cfg.Outbound.DNSSEC))
	}
	if n := len(dests) - maxExplained; n > 0 {
		x.Notes = append(x.Notes, fmt.Sprintf("%s of %d were not looked up", count(n, "destination"), len(dests)))
	}
	var g errgroup.Group
	g.SetLimit(explainAtOnce)
	for i, d := range dests[:min(len(dests), maxExplained)] {
		g.Go(func() error {
			x.Destinations[i].explain(e.out.Explain(ctx, d))
			return nil
		})
	}
	_ = g.Wait() // none fails
	e.queue(ctx, x)
}

// explain takes over what the client says.
func (d *destination) explain(s remote.Explanation) {
	d.Site, d.stsAsked = s.Site, s.STSAsked
	if s.Bad != nil {
		d.Reply, d.temporary = s.Bad.Reply().String(), s.Bad.Status != mta.Failed
		if s.Bad.Cause != nil {
			d.Cause = s.Bad.Cause.Error()
		}
	}
	for _, h := range s.Hosts {
		v := hostSeen{Name: h.Name, Unused: h.Cut, TLS: string(h.TLS), By: h.By, DANE: h.DANE, TLSA: h.TLSA}
		if h.Pref >= 0 {
			v.Preference = &h.Pref
		}
		for _, a := range h.Addrs {
			v.Addresses = append(v.Addresses, a.String())
		}
		if h.Bad != nil {
			v.Problem = h.Bad.Reply().String()
		}
		d.Hosts = append(d.Hosts, v)
	}
	if p := s.STS; p != nil {
		d.MTASTS = &stsPolicy{Mode: string(p.Mode), MX: p.MX, MaxAge: int(p.MaxAge / time.Second)}
	}
	if s.STSErr != nil {
		d.STSError = s.STSErr.Error()
	}
}

// queue adds how queue-runner sees the destinations.
func (e *explainer) queue(ctx context.Context, x *explanation) {
	c := control.NewClient(filepath.Join(e.cfg.Run, "queue", control.SocketName))
	defer c.Close()
	list, err := c.Destinations(ctx)
	if err != nil {
		x.Notes = append(x.Notes, err.Error())
		return
	}
	for i := range x.Destinations {
		d := &x.Destinations[i]
		if n := slices.IndexFunc(list, func(s control.Destination) bool { return s.Name == d.Site }); n >= 0 && d.Site != "" {
			list[n].Domains = nil // the destination's own is told above
			d.Queue = &list[n]
		}
	}
}
