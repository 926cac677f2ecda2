package dmarc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dmarc"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// How often what was counted is written, and reports that are due are looked for; and how long smtpd may take for one.
const (
	tickEvery = time.Minute
	postTime  = time.Minute
)

// reports count what was found, and send it once a day.
type reports struct {
	collector *dmarc.Collector
	sender    *dmarc.Sender
	stop      context.CancelFunc
	done      sync.WaitGroup
	failing   atomic.Bool // the last thing that was to be written could not be
}

// Activate implements filters.Activator.
func (f *Filter) Activate(context.Context) error {
	ctx, stop := context.WithCancel(context.Background())
	if f.Now == nil {
		f.Now = time.Now
	}
	r := &reports{collector: dmarc.NewCollector(f.site.StateDirectory, f.Now), stop: stop}
	r.sender = &dmarc.Sender{
		Dir: f.site.StateDirectory, Resolver: f.Resolver, Now: f.Now, Log: filters.Log(),
		Reporter: dmarc.Reporter{Hostname: f.site.Hostname, From: f.set.ReportFrom, Software: "Posthouse " + f.Version},
		Post: func(ctx context.Context, to string, message []byte) error {
			return post(ctx, f.site.SubmitSocket, f.site.Hostname, to, message)
		},
	}
	f.reports = r
	r.done.Go(func() {
		t := time.NewTicker(tickEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				r.tick(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func (r *reports) tick(ctx context.Context) {
	r.complain(r.collector.Flush())
	r.sender.Tick(ctx)
}

// Close implements filters.Closer.
func (f *Filter) Close() error {
	if f.reports == nil {
		return nil
	}
	f.reports.stop()
	f.reports.done.Wait()
	return f.reports.collector.Flush()
}

func (r *reports) count(row dmarc.Row) { r.complain(r.collector.Add(row)) }

// complain says once that something cannot be written, until something can be again.
func (r *reports) complain(err error) {
	if was := r.failing.Swap(err != nil); err != nil && !was {
		filters.Log().Log(context.Background(), slog.LevelError, "what reports are made of cannot be kept", "err", err)
	}
}

// row is what a report says of a message.
func (f *Filter) row(e *filters.Event, x dmarc.Finding, v *filters.Verdict) dmarc.Row {
	r := dmarc.Row{
		Domain: x.Domain, Published: x.Record.Published(), RUA: x.Record.RUA, Source: e.Client.Addr().Unmap().String(),
		DKIM: x.DKIM, SPF: x.SPF, HeaderFrom: x.Author, Disposition: doNone,
	}
	switch {
	case x.Result == dmarc.ResultPass && x.Policy != dmarc.None:
		r.Disposition = "pass"
	case v.Action == filters.Reject:
		r.Disposition = doReject
	case v.Action == filters.Quarantine:
		r.Disposition = doQuarantine
	}
	exempt, comment := f.set.exempt(e)
	switch {
	case x.Result == dmarc.ResultPass || r.Disposition == string(x.Policy):
	case exempt != "":
		r.Reason, r.Comment = exempt, comment
	case r.Disposition == string(x.Disposition):
		r.Reason = "policy_test_mode"
	default:
		r.Reason = "local_policy"
	}
	for _, n := range e.Find("dkim") {
		if d, err := dns.ASCII(n.Get("header", "d")); err == nil && n.Get("header", "s") != "" {
			r.DKIMResults = append(r.DKIMResults, dmarc.DKIMResult{Domain: d, Selector: n.Get("header", "s"), Result: n.Result})
		}
	}
	for _, n := range e.Find("spf") {
		identity := spfDomain(n)
		r.SPFResult = &dmarc.SPFResult{Domain: identity, Scope: "helo", Result: n.Result}
		if n.Get("smtp", "mailfrom") != "" {
			r.SPFResult.Scope, r.EnvelopeFrom = "mfrom", identity
		}
	}
	return r
}

// post hands a message in at smtpd's socket, with the null sender: nobody reads what comes back.
func post(ctx context.Context, socket, hostname, to string, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer nc.Close()
	end, _ := ctx.Deadline() // there is one
	if err := nc.SetDeadline(end); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	c, err := smtp.NewClient(nc, hostname)
	if err != nil {
		return fmt.Errorf("smtpd: %w", err)
	}
	for _, step := range []func() error{func() error { return c.Hello(hostname) }, func() error { return mailFrom(c) }, func() error { return c.Rcpt(to) }} {
		if err := step(); err != nil {
			return fmt.Errorf("smtpd: %w", err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("smtpd: %w", err)
	}
	if _, err := w.Write(message); err != nil {
		return fmt.Errorf("smtpd: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("smtpd: %w", err)
	}
	_ = c.Quit() // it has the message
	return nil
}

// mailFrom gives the null sender. The library's own would ask for SMTPUTF8 where smtpd offers it, and a report would reach those
// alone who have it too.
func mailFrom(c *smtp.Client) error {
	id, err := c.Text.Cmd("MAIL FROM:<>")
	if err != nil {
		return err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	_, _, err = c.Text.ReadResponse(250)
	return err
}
