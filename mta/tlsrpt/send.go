package tlsrpt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// When the reports of a day are sent: each at a moment of its own after the day, so that not all senders of the world
// come at once (RFC 8460 4.1), and until when that is tried.
const (
	spreadFrom  = 5 * time.Minute
	spreadOver  = 4 * time.Hour
	retryEvery  = time.Hour
	giveUpAfter = 48 * time.Hour
	postTimeout = time.Minute // of all that one domain names
	sendFor     = time.Minute // then counters are written, and the others get their turn
	maxAnswer   = 64 << 10
)

func newClient(o Options) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: o.Dial, TLSClientConfig: o.TLS, TLSHandshakeTimeout: postTimeout,
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       postTimeout,
	}
}

// dueAt is when the report for a domain goes out. It is the same after a restart.
func (o Settings) dueAt(d *day, domain string) time.Time {
	h := fnv.New64a()
	_, _ = io.WriteString(h, o.Hostname+" "+domain+" "+d.Start.Format(time.DateOnly)) // cannot fail
	return d.end().Add(spreadFrom + time.Duration(h.Sum64()%uint64(spreadOver)))
}

// send sends what is due. A day that is too long gone is given up.
func (r *Recorder) send(ctx context.Context) {
	set := r.settings()
	if !set.Reports {
		return
	}
	left := r.pending[:0]
	for _, p := range r.pending {
		late := r.opt.Now().After(p.end().Add(giveUpAfter))
		if late {
			for domain, f := range p.failed {
				r.opt.Log.TLSReportError(domain, "give-up", f.err)
			}
		}
		if late || r.sendDay(ctx, set, p) {
			r.remove(p)
			continue
		}
		left = append(left, p)
	}
	clear(r.pending[len(left):])
	r.pending = left
}

// sendDay sends what is due of a day, for as long as it may, and says whether all of it is done. Places that take their time
// hold up nobody for long: who could not be told comes an hour later, behind the others.
func (r *Recorder) sendDay(ctx context.Context, set Settings, p *pending) (done bool) {
	done = true
	end := r.opt.Now().Add(sendFor)
	for _, domain := range slices.Sorted(maps.Keys(p.Domains)) {
		if p.sent[domain] {
			continue
		}
		at := set.dueAt(p.day, domain)
		if f, ok := p.failed[domain]; ok {
			at = f.next
		}
		if now := r.opt.Now(); ctx.Err() != nil || now.Before(at) || now.After(end) {
			done = false
			continue
		}
		sent, err := r.tell(ctx, set, p, domain)
		switch {
		case err == nil:
			r.markDone(p, domain, sent)
			continue
		case ctx.Err() == nil:
			if _, again := p.failed[domain]; !again {
				r.opt.Log.TLSReportError(domain, "send", err)
			}
			p.failed[domain] = failure{r.opt.Now().Add(retryEvery), err}
		}
		done = false
	}
	return done
}

// tell sends one report to all who want it. It fails when nobody of them could be told.
func (r *Recorder) tell(ctx context.Context, set Settings, p *pending, domain string) (sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	texts, err := r.opt.Resolver.TXT(ctx, "_smtp._tls."+domain)
	if dns.Permanent(err) {
		return false, nil
	}
	list := parseRecord(texts)
	if err != nil || len(list) == 0 {
		return false, err
	}
	return true, r.sendTo(ctx, set, p, domain, list)
}

// sendTo fails when nobody got the report.
func (r *Recorder) sendTo(ctx context.Context, set Settings, p *pending, domain string, list []target) error {
	l, err := set.write(p.day, domain)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range list {
		var err error
		if t.https != "" {
			err = r.post(ctx, t.https, l.gzip)
		} else {
			err = r.opt.Mail(t.mail, set.mail(l, t.mail.String(), r.opt.Now()))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t, err))
			continue
		}
		r.opt.Log.TLSReportSent(domain, t.String(), l.id, l.ok, l.failed)
	}
	if len(errs) < len(list) {
		if len(errs) > 0 {
			r.opt.Log.TLSReportError(domain, "send", errors.Join(errs...))
		}
		return nil
	}
	return errors.Join(errs...)
}

// post sends a report over HTTPS (RFC 8460 5.4).
func (r *Recorder) post(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/tlsrpt+gzip")
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()                         // what it says is of no interest
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // nor whether it says it to the end
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %.80q", resp.Status)
	}
	return nil
}
