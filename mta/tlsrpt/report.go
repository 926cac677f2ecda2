package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta/message"
)

// report is the JSON of RFC 8460 4.4.
type report struct {
	Organization string         `json:"organization-name"`
	Range        dateRange      `json:"date-range"`
	Contact      string         `json:"contact-info"`
	ID           string         `json:"report-id"`
	Policies     []policyReport `json:"policies"`
}

type dateRange struct {
	Start time.Time `json:"start-datetime"`
	End   time.Time `json:"end-datetime"`
}

type policyReport struct {
	Policy  Policy   `json:"policy"`
	Summary summary  `json:"summary"`
	Details []detail `json:"failure-details,omitempty"`
}

type summary struct {
	OK     int64 `json:"total-successful-session-count"`
	Failed int64 `json:"total-failure-session-count"`
}

// letter is a report for one domain, as it is sent.
type letter struct {
	domain string
	id     string
	name   string // of the file (RFC 8460 5.1)
	gzip   []byte
	start  time.Time
	end    time.Time
	ok     int64
	failed int64
}

// write makes the report of a day for a domain. The same day makes the same id, so that a receiver which gets it twice
// can tell.
func (o Settings) write(d *day, domain string) (*letter, error) {
	list := d.Domains[domain]
	sum := sha256.Sum256([]byte(o.Hostname + " " + domain + " " + d.Start.Format(time.DateOnly)))
	l := &letter{domain: domain, start: d.Start, end: d.end().Add(-time.Second)}
	l.id = d.Start.Format("20060102") + "." + hex.EncodeToString(sum[:8]) + "@" + o.Hostname
	l.name = fmt.Sprintf("%s!%s!%d!%d.json.gz", o.Hostname, domain, l.start.Unix(), l.end.Unix())
	l.ok, l.failed = sums(list)
	r := report{o.Hostname, dateRange{l.start, l.end}, o.Contact.String(), l.id, nil}
	for _, t := range list {
		r.Policies = append(r.Policies, policyReport{t.Policy, summary{t.OK, t.Failed}, t.Details})
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(append(b, '\n')); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l.gzip = z.Bytes()
	return l, nil
}

// mail is the report as a message (RFC 8460 5.3). It asks that no host refuses it for want of TLS (RFC 8689 3): what it
// tells of may be just that.
func (o Settings) mail(l *letter, to string, now time.Time) []byte {
	boundary := "=_" + strings.ReplaceAll(l.id[:strings.IndexByte(l.id, '@')], ".", "_")
	var b bytes.Buffer
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\r\n", a...) }
	line("Date: %s", now.UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	line("From: TLS reports of %s <%s>", o.Hostname, o.Contact)
	line("To: <%s>", to)
	line("Subject: Report Domain: %s", l.domain)
	line(" Submitter: %s", o.Hostname)
	line(" Report-ID: <%s>", l.id)
	line("Message-ID: <tlsrpt.%s>", l.id)
	line("TLS-Report-Domain: %s", l.domain)
	line("TLS-Report-Submitter: %s", o.Hostname)
	line("TLS-Required: No")
	line("Auto-Submitted: auto-generated")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=tlsrpt;")
	line(" boundary=\"%s\"", boundary)
	line("")
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=us-ascii")
	line("")
	line("This is a report of TLS between %s and the mail servers of", o.Hostname)
	line("%s on %s (RFC 8460).", l.domain, l.start.Format(time.DateOnly))
	line("Good sessions: %d. Failed: %d.", l.ok, l.failed)
	line("")
	line("--%s", boundary)
	line("Content-Type: application/tlsrpt+gzip")
	line("Content-Transfer-Encoding: base64")
	line("Content-Disposition: attachment;")
	line(" filename=\"%s\"", l.name)
	line("")
	b.Write(message.AppendBase64(b.AvailableBuffer(), l.gzip))
	line("--%s--", boundary)
	return b.Bytes()
}
