package dmarc

import (
	"context"
	"errors"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Result of an evaluation, in the words of RFC 8601 2.7.4.
type Result string

// Results.
const (
	ResultNone      Result = "none" // no policy applies
	ResultPass      Result = "pass"
	ResultFail      Result = "fail"
	ResultTempError Result = "temperror"
	ResultPermError Result = "permerror"
)

// Proven are the domains that other checks have proven, as A-labels in lower case.
type Proven struct {
	SPF  string // of MAIL, or of HELO for the null sender; "" = none
	DKIM []string
}

// Finding is what an evaluation came to.
type Finding struct {
	Author string // its domain
	Result Result
	Err    error // of ResultTempError

	Domain      string // that has the record; "" = none applies
	Record      Record
	Policy      Policy // what the record asks for this author, were it no test
	Disposition Policy // what is asked for this message: None unless Result is fail
	DKIM, SPF   bool   // proven and aligned
}

// Evaluate finds the policy for an author's domain and compares it with what is proven (RFC 9989 5.3). It asks DNS for
// at most eight records for the author, eight for each proven domain that can be aligned at all, and one address.
func Evaluate(ctx context.Context, r Resolver, author string, p Proven) Finding {
	w := &walker{r, map[string]answer{}}
	f := Finding{Author: author, Result: ResultNone, Policy: None, Disposition: None}
	if err := w.discover(ctx, &f); err != nil {
		f.Result, f.Err = ResultTempError, err
		return f
	}
	if f.Domain == "" {
		return f
	}
	var err error
	for _, d := range p.DKIM {
		if !f.DKIM {
			var e error
			f.DKIM, e = w.aligned(ctx, author, d, f.Record.StrictDKIM)
			err = errors.Join(err, e)
		}
	}
	if p.SPF != "" {
		var e error
		f.SPF, e = w.aligned(ctx, author, p.SPF, f.Record.StrictSPF)
		err = errors.Join(err, e)
	}
	switch {
	case f.DKIM || f.SPF:
		f.Result = ResultPass
	case err != nil:
		f.Result, f.Err = ResultTempError, err
	default:
		f.Result, f.Disposition = ResultFail, f.Policy
		if f.Record.Testing {
			f.Disposition = f.Policy.lower()
		}
	}
	return f
}

// discover finds the record that applies to the author, and its policy for it (RFC 9989 4.10.1).
func (w *walker) discover(ctx context.Context, f *Finding) error {
	own := w.at(ctx, f.Author)
	if own.err != nil {
		return own.err
	}
	if own.found {
		if r, ok := own.record.usable(); ok {
			f.Domain, f.Record, f.Policy = f.Author, r, r.P
		}
		return nil
	}
	found, err := w.walk(ctx, f.Author)
	if err != nil {
		return err
	}
	org := organization(f.Author, found)
	for _, s := range found {
		if s.domain != org && s.record.PSD != 'y' {
			continue
		}
		r, ok := s.record.usable()
		if !ok {
			return nil
		}
		exists, err := w.exists(ctx, f.Author)
		if err != nil {
			return err
		}
		f.Domain, f.Record, f.Policy = s.domain, r, r.forSubdomain(exists)
		return nil
	}
	return nil
}

// exists says that a domain is not NXDOMAIN (RFC 9989 3.2.13, RFC 8020).
func (w *walker) exists(ctx context.Context, domain string) (bool, error) {
	_, err := w.r.Addrs(ctx, domain, false)
	switch {
	case err == nil, errors.Is(err, dns.ErrNoData):
		return true, nil
	case dns.Permanent(err):
		return false, nil
	}
	return false, err
}

// aligned compares the author's domain with a proven one (RFC 9989 4.10.2). Both have the same Organizational Domain only
// if the proven one stands below the author's, which spares the questions for all others.
func (w *walker) aligned(ctx context.Context, author, proven string, strict bool) (bool, error) {
	if author == proven || strict {
		return author == proven, nil
	}
	found, err := w.walk(ctx, author)
	if err != nil {
		return false, err
	}
	org := organization(author, found)
	if !within(proven, org) {
		return false, nil
	}
	found, err = w.walk(ctx, proven)
	return err == nil && organization(proven, found) == org, err
}
