package dmarc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dmarc"
)

func row(domain, source string) dmarc.Row {
	return dmarc.Row{
		Domain: domain, Published: dmarc.Record{P: dmarc.Reject, NP: dmarc.Quarantine, FO: "1", StrictDKIM: true, Testing: true}.Published(), RUA: []string{"r@" + domain},
		Source: source, Disposition: "quarantine", SPF: true, Reason: "policy_test_mode", HeaderFrom: "mail." + domain, EnvelopeFrom: "bounce." + domain,
		DKIMResults: []dmarc.DKIMResult{{Domain: "evil.test", Selector: "<s&>\x01", Result: "fail"}},
		SPFResult:   &dmarc.SPFResult{Domain: "bounce." + domain, Scope: "mfrom", Result: "pass"},
	}
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func collect(t *testing.T, dir string, at time.Time, rows ...dmarc.Row) {
	t.Helper()
	c := dmarc.NewCollector(dir, func() time.Time { return at })
	for _, r := range rows {
		if err := c.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestEqualRowsAreCounted(t *testing.T) {
	dir := t.TempDir()
	collect(t, dir, noon, row("a.test", "192.0.2.1"), row("a.test", "192.0.2.1"), row("b.test", "192.0.2.1"))
	collect(t, dir, noon, row("a.test", "192.0.2.2"), row("a.test", "192.0.2.1")) // as after a restart
	collect(t, dir, noon.AddDate(0, 0, 1), row("a.test", "192.0.2.1"))
	f, err := os.OpenFile(filepath.Join(dir, "2026-11-27.rows"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "{\"domain\":\"a.test\",\"count\":-5}\n{\"domain\":\"a.test\",\"cou") // a crash in the middle
	f.Close()
	days, err := dmarc.Days(dir)
	if err != nil || strings.Join(days, " ") != "2026-11-27 2026-11-28" {
		t.Fatalf("got the days %v, %v", days, err)
	}
	all, err := dmarc.Load(dir, days[0])
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for domain, a := range all {
		for _, r := range a.Rows {
			got[domain+" "+r.Source] += r.Count
		}
	}
	if fmt.Sprint(got) != "map[a.test 192.0.2.1:3 a.test 192.0.2.2:1 b.test 192.0.2.1:1]" {
		t.Errorf("got %v", got)
	}
}

func TestWhatOneDomainCanTakeIsBounded(t *testing.T) {
	dir := t.TempDir()
	at := noon
	c := dmarc.NewCollector(dir, func() time.Time { return at })
	long := row("a.test", "192.0.2.1")
	long.DKIMResults = nil
	for range 200 {
		long.DKIMResults = append(long.DKIMResults, dmarc.DKIMResult{Domain: strings.Repeat("x", 10_000), Selector: "s", Result: "fail"})
	}
	var failed error
	for i := range 12_000 {
		r := row("a.test", "192.0.2.1")
		r.DKIMResults = nil
		r.EnvelopeFrom = fmt.Sprintf("%d.test", i)
		if i%5 == 0 {
			r.DKIMResults = long.DKIMResults
		}
		failed = errors.Join(failed, c.Add(r))
	}
	if err := errors.Join(failed, c.Flush()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "2026-11-27.rows"))
	if err != nil || st.Size() > 40<<20 {
		t.Errorf("the day has %d octets, %v", st.Size(), err)
	}
	all, err := dmarc.Load(dir, "2026-11-27")
	if err != nil {
		t.Fatal(err)
	}
	a := all["a.test"]
	if len(a.Rows) != 10_000 || a.Lost != 2_000 {
		t.Errorf("got %d rows, %d lost; want 10000 and 2000", len(a.Rows), a.Lost)
	}
	doc, err := dmarc.Reporter{Hostname: "mx.here.test"}.XML("2026-11-27", a)
	if err != nil || !strings.Contains(string(doc), "<error>2000 further messages") {
		t.Errorf("the report does not say what it lacks: %v", err)
	}
}

// post is what a Sender has sent.
type post struct {
	to   []string
	text map[string]string
	err  error
}

func (p *post) send(_ context.Context, to string, m []byte) error {
	if p.err != nil {
		return p.err
	}
	p.to = append(p.to, to)
	if p.text == nil {
		p.text = map[string]string{}
	}
	p.text[to] = string(m)
	return nil
}

func sender(t *testing.T, dir string, now *time.Time, p *post, z *zone) *dmarc.Sender {
	t.Helper()
	return &dmarc.Sender{
		Dir: dir, Reporter: dmarc.Reporter{Hostname: "mx.here.test", From: "dmarc@here.test", Software: "Posthouse 1"}, Resolver: z, Post: p.send,
		Now: func() time.Time { return *now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func TestReportsGoOutOnceADay(t *testing.T) {
	dir := t.TempDir()
	collect(t, dir, noon, row("a.test", "192.0.2.1"), row("b.test", "2001:db8::1"))
	now := noon.Add(11 * time.Hour)
	p := &post{}
	s := sender(t, dir, &now, p, &zone{})
	s.Tick(t.Context())
	if len(p.to) != 0 {
		t.Fatalf("the day is not over, and %v were sent", p.to)
	}
	now = noon.Add(17 * time.Hour)
	p.err = errors.New("smtpd does not answer")
	s.Tick(t.Context())
	p.err = nil
	s.Tick(t.Context()) // not yet again
	if len(p.to) != 0 {
		t.Errorf("it was tried again at once: %v", p.to)
	}
	now = now.Add(time.Hour)
	s.Tick(t.Context())
	if strings.Join(p.to, " ") != "r@a.test r@b.test" {
		t.Fatalf("got %v", p.to)
	}
	now = now.Add(time.Hour)
	s.Tick(t.Context())
	sender(t, dir, &now, p, &zone{}).Tick(t.Context()) // as after a restart
	if len(p.to) != 2 {
		t.Errorf("some were sent twice: %v", p.to)
	}
	sent, done, err := dmarc.Sent(dir, "2026-11-27")
	if err != nil || !done || strings.Join(sent["a.test"], " ") != "r@a.test" {
		t.Errorf("got %v, %v, %v", sent, done, err)
	}
	now = now.AddDate(0, 0, 20)
	s.Tick(t.Context())
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v are still there after 20 days", left)
	}
	checkMail(t, p.text["r@a.test"])
}

// checkMail reads a report as its receiver would.
func checkMail(t *testing.T, text string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(m.Header.Get("Subject")), " "); !strings.HasPrefix(got, "Report Domain: a.test Submitter: mx.here.test Report-ID: <20261127") {
		t.Errorf("got the subject %q", got)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	if _, err := r.NextPart(); err != nil {
		t.Fatal(err)
	}
	part, err := r.NextPart()
	if err != nil || part.Header.Get("Content-Type") != "application/gzip" {
		t.Fatalf("got %v, %v", part.Header, err)
	}
	if name := part.FileName(); !strings.HasPrefix(name, "mx.here.test!a.test!1795737600!1795823999!20261127") || !strings.HasSuffix(name, ".xml.gz") {
		t.Errorf("got the file name %s", name)
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, part))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "report.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(doc, want) {
		t.Errorf("got\n%s\nwant testdata/report.xml", doc)
	}
	if err := xml.Unmarshal(doc, new(struct{})); err != nil {
		t.Error(err)
	}
}

func TestOthersGetReportsOnlyIfTheyWantThem(t *testing.T) {
	for _, c := range []struct {
		name, rua string
		records   map[string]string
		want      string
		again     bool
	}{
		{"the domain itself", "r@a.test", nil, "r@a.test", false},
		{"the same organization", "r@reports.a.test", map[string]string{"a.test": "v=DMARC1"}, "r@reports.a.test", false},
		{"a stranger", "r@victim.test", nil, "", false},
		{"a stranger who has said something else", "r@victim.test", map[string]string{"a.test._report._dmarc.victim.test": "v=spf1 -all"}, "", false},
		{"one who wants them", "r@service.test", map[string]string{"a.test._report._dmarc.service.test": "v=DMARC1"}, "r@service.test", false},
		{"elsewhere at the same host", "r@service.test", map[string]string{"a.test._report._dmarc.service.test": "v=DMARC1; rua=mailto:x@service.test"}, "x@service.test", false},
		{"elsewhere at another host", "r@service.test", map[string]string{"a.test._report._dmarc.service.test": "v=DMARC1; rua=mailto:x@victim.test"}, "", false},
		{"no answer", "r@service.test", map[string]string{"a.test._report._dmarc.service.test": "later"}, "", true},
		{"no host", "r@-.-", nil, "", false},
	} {
		dir := t.TempDir()
		r := row("a.test", "192.0.2.1")
		r.RUA = []string{c.rua, c.rua}
		collect(t, dir, noon, r)
		now := noon.AddDate(0, 0, 1)
		p := &post{}
		sender(t, dir, &now, p, &zone{records: one(c.records)}).Tick(t.Context())
		if got := strings.Join(p.to, " "); got != c.want {
			t.Errorf("%s: sent to %q, want %q", c.name, got, c.want)
		}
		if _, done, err := dmarc.Sent(dir, "2026-11-27"); done == c.again || err != nil {
			t.Errorf("%s: all is done: %v, %v; want %v", c.name, done, err, !c.again)
		}
	}
}
