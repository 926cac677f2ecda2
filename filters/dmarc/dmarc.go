// Package dmarc is the filter dmarc: whether a message's author has something to do with who sent it, and what the author's domain
// wants done where not (RFC 9989). It reads what the filters spf and dkim have found. cmd/filter starts it;
// posthouse-filters(7) describes its settings.
package dmarc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dmarc"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// Filter is the filter. The zero Filter asks the name servers of its site.
type Filter struct {
	Version  string
	Resolver dmarc.Resolver
	Now      func() time.Time // default time.Now

	set     settings
	site    filters.Site
	reports *reports // nil before Activate
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "dmarc", Version: f.Version, Summary: "does what authors' domains want done with mail in their name (DMARC)", Roles: []string{filters.RoleMX}}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	var err error
	if f.set, err = read(s); err != nil {
		return err
	}
	f.site = *site
	if f.set.ReportFrom != "" && site.SubmitSocket == "" {
		return s.Fault("report_from", "report_from: reports leave through a listener of role \"local\" on a Unix socket, and smtpd.listen has none")
	}
	if f.Resolver == nil {
		f.Resolver, err = dns.New(dns.Options{Servers: site.Resolvers})
	}
	return err
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	header, err := e.Message.Header()
	if err != nil {
		return nil, err
	}
	var from []string
	for _, h := range header {
		if strings.EqualFold(h.Name, "From") {
			from = append(from, h.Value)
		}
	}
	authors, err := authors(from)
	if err != nil {
		return f.badAuthor(e, err), nil
	}
	proven, missing := provenBy(e)
	worst := dmarc.Evaluate(ctx, f.Resolver, authors[0], proven)
	for _, a := range authors[1:] { // the strictest counts: or a second author would undo the first one's policy
		if x := dmarc.Evaluate(ctx, f.Resolver, a, proven); rank(x) > rank(worst) {
			worst = x
		}
	}
	v := f.verdict(e, worst, missing)
	if f.reports != nil && len(worst.Record.RUA) > 0 && (v.Notes[0].Result == "pass" || v.Notes[0].Result == "fail") {
		f.reports.count(f.row(e, worst, v))
	}
	return v, nil
}

// authors are the authors' domains as A-labels.
func authors(from []string) ([]string, error) {
	list, err := message.AuthorDomains(from)
	for i, d := range list {
		if list[i], err = dns.ASCII(d); err != nil {
			return nil, err
		}
	}
	return list, err
}

func rank(f dmarc.Finding) int {
	switch {
	case f.Disposition == dmarc.Reject:
		return 5
	case f.Disposition == dmarc.Quarantine:
		return 4
	case f.Result == dmarc.ResultTempError:
		return 3
	case f.Result == dmarc.ResultFail:
		return 2
	case f.Result == dmarc.ResultNone:
		return 1
	}
	return 0
}

// provenBy are the domains that the filters before have proven; missing says which of them have not looked.
func provenBy(e *filters.Event) (p dmarc.Proven, missing string) {
	spf, dkim := e.Find("spf"), e.Find("dkim")
	for _, n := range spf {
		if n.Result != "pass" {
			continue
		}
		p.SPF = spfDomain(n)
	}
	for _, n := range dkim {
		if d, err := dns.ASCII(n.Get("header", "d")); err == nil && n.Result == "pass" {
			p.DKIM = append(p.DKIM, d)
		}
	}
	switch {
	case len(dkim) == 0:
		missing = "dkim"
	case len(spf) == 0:
		missing = "spf"
	}
	return p, missing
}

// spfDomain is the domain that SPF has asked about, "" where it is no name.
func spfDomain(n filters.Note) string {
	domain := n.Get("smtp", "helo")
	if from := n.Get("smtp", "mailfrom"); from != "" {
		domain = from[strings.LastIndexByte(from, '@')+1:]
	}
	d, _ := dns.ASCII(domain)
	return d
}

// unsure says whether what was not looked at, or not yet, could have made a message pass.
func unsure(e *filters.Event, missing string) string {
	if missing != "" {
		return "not checked by " + missing
	}
	for _, n := range e.Notes {
		if (n.Method == "spf" || n.Method == "dkim") && n.Result == "temperror" {
			return n.Method + " did not come to an end"
		}
	}
	return ""
}

func (f *Filter) verdict(e *filters.Event, x dmarc.Finding, missing string) *filters.Verdict {
	note := filters.Note{Method: "dmarc", Result: string(x.Result), Properties: []filters.Property{{Type: "header", Name: "from", Value: x.Author}}}
	if x.Domain != "" {
		note.Properties = append(note.Properties, filters.Property{Type: "policy", Name: "dmarc", Value: string(x.Policy)})
	}
	if x.Result == dmarc.ResultTempError {
		note.Reason = "DNS did not answer" // the error tells of our name servers
	}
	if why := unsure(e, missing); x.Result == dmarc.ResultFail && why != "" {
		note.Result, note.Reason = string(dmarc.ResultTempError), why
	}
	v := &filters.Verdict{Score: f.set.Score[note.Result], Notes: []filters.Note{note}}
	exempt, _ := f.set.exempt(e)
	switch {
	case exempt != "":
	case note.Result == string(dmarc.ResultTempError):
		if f.set.OnTempError == doTempFail {
			v.Action, v.Code, v.Enhanced, v.Text = filters.TempFail, 451, "4.7.24", "Cannot check the author now, try again later"
		}
	case x.Disposition == dmarc.Reject:
		do(v, f.set.OnReject, fmt.Sprintf("the policy of %s (DMARC) does not allow this message from %s", x.Domain, x.Author))
	case x.Disposition == dmarc.Quarantine:
		do(v, f.set.OnQuarantine, fmt.Sprintf("the policy of %s (DMARC) wants this message from %s apart", x.Domain, x.Author))
	}
	return v
}

// badAuthor is for a message whose author nobody can tell.
func (f *Filter) badAuthor(e *filters.Event, err error) *filters.Verdict {
	v := &filters.Verdict{Score: f.set.Score[string(dmarc.ResultPermError)], Notes: []filters.Note{{Method: "dmarc", Result: string(dmarc.ResultPermError), Reason: err.Error()}}}
	if exempt, _ := f.set.exempt(e); exempt == "" {
		do(v, f.set.OnBadAuthor, "From names no author that can be checked (DMARC)")
	}
	return v
}

func do(v *filters.Verdict, what, text string) {
	switch what {
	case doReject:
		v.Action, v.Code, v.Enhanced, v.Text = filters.Reject, 550, "5.7.1", "Refused: "+text
	case doQuarantine:
		v.Action, v.Text = filters.Quarantine, text
	}
}
