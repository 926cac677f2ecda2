package dmarc

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/message"
)

// Reporter says who reports.
type Reporter struct {
	Hostname string // the Submitter
	From     string // an address
	Software string
}

// feedback is the document of RFC 9990, appendix A.
type feedback struct {
	XMLName  xml.Name    `xml:"urn:ietf:params:xml:ns:dmarc-2.0 feedback"`
	Version  string      `xml:"version"`
	Metadata metadata    `xml:"report_metadata"`
	Policy   policyXML   `xml:"policy_published"`
	Records  []recordXML `xml:"record"`
}

type metadata struct {
	Org       string   `xml:"org_name"`
	Email     string   `xml:"email"`
	ID        string   `xml:"report_id"`
	Begin     int64    `xml:"date_range>begin"`
	End       int64    `xml:"date_range>end"`
	Errors    []string `xml:"error"`
	Generator string   `xml:"generator,omitempty"`
}

type policyXML struct {
	Domain    string `xml:"domain"`
	Discovery string `xml:"discovery_method"`
	P         Policy `xml:"p"`
	SP        Policy `xml:"sp,omitempty"`
	NP        Policy `xml:"np,omitempty"`
	FO        string `xml:"fo"`
	ADKIM     string `xml:"adkim"`
	ASPF      string `xml:"aspf"`
	Testing   string `xml:"testing"`
}

type recordXML struct {
	Source       string     `xml:"row>source_ip"`
	Count        int64      `xml:"row>count"`
	Disposition  string     `xml:"row>policy_evaluated>disposition"`
	DKIM         string     `xml:"row>policy_evaluated>dkim"`
	SPF          string     `xml:"row>policy_evaluated>spf"`
	Reason       *reasonXML `xml:"row>policy_evaluated>reason"`
	HeaderFrom   string     `xml:"identifiers>header_from"`
	EnvelopeFrom string     `xml:"identifiers>envelope_from"`
	Auth         authXML    `xml:"auth_results"`
}

type reasonXML struct {
	Type    string `xml:"type"`
	Comment string `xml:"comment,omitempty"`
}

type authXML struct {
	DKIM []dkimXML `xml:"dkim"`
	SPF  *spfXML   `xml:"spf"`
}

type dkimXML struct {
	Domain   string `xml:"domain"`
	Selector string `xml:"selector"`
	Result   string `xml:"result"`
}

type spfXML struct {
	Domain string `xml:"domain"`
	Scope  string `xml:"scope,omitempty"`
	Result string `xml:"result"`
}

// ID names the report of a day for a domain. It is the same when that is sent again.
func (o Reporter) ID(day, domain string) string {
	sum := sha256.Sum256([]byte(o.Hostname + " " + domain + " " + day))
	return strings.ReplaceAll(day, "-", "") + hex.EncodeToString(sum[:8])
}

// span is the day in seconds, the last one included.
func span(day string) (begin, end int64) {
	t, _ := time.Parse(time.DateOnly, day) // it came from Days
	return t.Unix(), t.Add(24*time.Hour).Unix() - 1
}

// XML writes the report of a day.
func (o Reporter) XML(day string, a *Aggregate) ([]byte, error) {
	f := feedback{Version: "1.0", Metadata: metadata{Org: o.Hostname, Email: o.From, ID: o.ID(day, a.Domain), Generator: o.Software}}
	f.Metadata.Begin, f.Metadata.End = span(day)
	if a.Lost > 0 {
		f.Metadata.Errors = []string{fmt.Sprintf("%d further messages are not in this report: it has too many rows", a.Lost)}
	}
	p := a.Published
	if p.SP == "" {
		p.SP = p.P // which it stands for; readers of RFC 7489's form want it there
	}
	f.Policy = policyXML{a.Domain, "treewalk", p.P, p.SP, p.NP, p.FO, p.ADKIM, p.ASPF, p.Testing}
	word := map[bool]string{true: "pass", false: "fail"}
	for _, r := range a.Rows {
		x := recordXML{Source: r.Source, Count: r.Count, Disposition: r.Disposition, DKIM: word[r.DKIM], SPF: word[r.SPF], HeaderFrom: r.HeaderFrom, EnvelopeFrom: r.EnvelopeFrom}
		if r.Reason != "" {
			x.Reason = &reasonXML{r.Reason, r.Comment}
		}
		for _, d := range r.DKIMResults {
			x.Auth.DKIM = append(x.Auth.DKIM, dkimXML(d))
		}
		if r.SPFResult != nil {
			x.Auth.SPF = &spfXML{r.SPFResult.Domain, r.SPFResult.Scope, r.SPFResult.Result}
		}
		f.Records = append(f.Records, x)
	}
	b, err := xml.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}

// Mail is the report of a day as a message to one address (RFC 9990 3.5.2).
func (o Reporter) Mail(day string, a *Aggregate, to string, now time.Time) ([]byte, error) {
	doc, err := o.XML(day, a)
	if err != nil {
		return nil, err
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(doc); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	id := o.ID(day, a.Domain)
	begin, end := span(day)
	toSum := sha256.Sum256([]byte(to))
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("Date: %s", now.UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	line("From: DMARC reports of %s <%s>", o.Hostname, o.From)
	line("To: <%s>", to)
	line("Subject: Report Domain: %s", a.Domain)
	line(" Submitter: %s", o.Hostname)
	line(" Report-ID: <%s@%s>", id, o.Hostname)
	line("Message-ID: <dmarc.%s.%x@%s>", id, toSum[:4], o.Hostname)
	line("Auto-Submitted: auto-generated")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/mixed; boundary=\"=_%s\"", id)
	line("")
	line("--=_%s", id)
	line("Content-Type: text/plain; charset=us-ascii")
	line("")
	line("This is an aggregate report (RFC 9990) of mail that came to %s", o.Hostname)
	line("on %s (UTC) in the name of %s.", day, a.Domain)
	line("")
	line("--=_%s", id)
	line("Content-Type: application/gzip")
	line("Content-Transfer-Encoding: base64")
	line("Content-Disposition: attachment;")
	line(" filename=\"%s!%s!%d!%d!%s.xml.gz\"", o.Hostname, a.Domain, begin, end, id)
	line("")
	b.Write(message.AppendBase64(b.AvailableBuffer(), z.Bytes()))
	line("--=_%s--", id)
	return b.Bytes(), nil
}
