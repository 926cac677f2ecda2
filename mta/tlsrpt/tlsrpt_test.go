package tlsrpt_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

var monday = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

type kit struct {
	t     *testing.T
	zone  *mtatest.Zone
	opt   tlsrpt.Options
	r     *tlsrpt.Recorder
	now   time.Time
	log   *bytes.Buffer
	mails []string // "to\n" and the content
	bad   error    // what Mail returns
	posts [][]byte
	code  int // what the web server answers
}

func newKit(t *testing.T) *kit {
	k := &kit{t: t, zone: mtatest.NewZone(t), now: monday.Add(10 * time.Hour), log: &bytes.Buffer{}, code: http.StatusCreated}
	certs := mtatest.NewCerts(t, "reports.test")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if got := r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Content-Type"); got != "POST /v1?x=1 application/tlsrpt+gzip" {
			t.Errorf("got request %s", got)
		}
		k.posts = append(k.posts, b)
		rw.Header().Set("Location", "https://reports.test/elsewhere")
		rw.WriteHeader(k.code)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.TLS = certs.Server()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	res, err := dns.New(dns.Options{Servers: []string{k.zone.Addr()}, Entries: -1})
	if err != nil {
		t.Fatal(err)
	}
	contact, _ := mta.ParseAddress("postmaster@our.test")
	k.opt = tlsrpt.Options{
		Dir: filepath.Join(t.TempDir(), "tls"), Settings: tlsrpt.Settings{Reports: true, Hostname: "our.test", Contact: contact}, Resolver: res, TLS: certs.Client(""),
		Now: func() time.Time { return k.now }, Log: maillog.New(slog.NewTextHandler(k.log, nil)),
		Mail: func(to mta.Address, content []byte) error {
			if k.bad == nil {
				k.mails = append(k.mails, to.String()+"\n"+string(content))
			}
			return k.bad
		},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, srv.Listener.Addr().String())
		},
	}
	k.restart()
	return k
}

func (k *kit) restart() {
	r, err := tlsrpt.Open(k.opt)
	if err != nil {
		k.t.Fatal(err)
	}
	k.r = r
}

func (k *kit) record(domain, text string) {
	k.t.Helper()
	if err := k.zone.Add(fmt.Sprintf("_smtp._tls.%s. 60 IN TXT %q", domain, text)); err != nil {
		k.t.Fatal(err)
	}
}

func none(domain string, f *tlsrpt.Failure) tlsrpt.Session {
	s := tlsrpt.Session{Domain: domain, Host: "mx." + domain, Level: tlsrpt.Encrypted, Usable: true}
	s.Results = []tlsrpt.Result{{Policy: tlsrpt.Policy{Type: tlsrpt.PolicyNone, Domain: domain}, Failure: f}}
	return s
}

// sent ticks through four days and returns how many mails and posts that made.
func (k *kit) sent() (mails, posts int) {
	m, p := len(k.mails), len(k.posts)
	for end := k.now.Add(4 * 24 * time.Hour); k.now.Before(end); k.now = k.now.Add(20 * time.Minute) {
		k.r.Tick(k.t.Context())
	}
	return len(k.mails) - m, len(k.posts) - p
}

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		texts string // "|" between
		want  string
	}{
		{"", ""}, {"v=TLSRPTv1", ""}, {"v=TLSRPTv1;", ""}, {"v=TLSRPTv2; rua=mailto:a@b.test", ""}, {"rua=mailto:a@b.test; v=TLSRPTv1", ""},
		{"v=TLSRPTv1; rua=mailto:a@b.test|v=TLSRPTv1; rua=mailto:c@b.test", ""},
		{"v=TLSRPTv1; rua=", ""}, {"v=TLSRPTv1; rua=a@b.test", ""}, {"v=TLSRPTv1; rua=mailto:a", ""}, {"v=TLSRPTv1; rua=mailto:", ""},
		{"v=TLSRPTv1; rua=mailto:a%0d%0ab@b.test", ""}, {"v=TLSRPTv1; rua=mailto:a@b.test%00", ""}, {"v=TLSRPTv1; rua=mailto:%zz@b.test", ""},
		{"v=TLSRPTv1; rua=http://b.test/", ""}, {"v=TLSRPTv1; rua=https:///x", ""}, {"v=TLSRPTv1; rua=https:b.test", ""}, {"v=TLSRPTv1; rua=file:///etc/passwd", ""},
		{"v=TLSRPTv1; rua=https://user:password@b.test/", ""}, {"v=TLSRPTv1; rua=https://b.test:port/", ""},
		{"v=TLSRPTv1; rua=mailto:a@b.test", "mailto:a@b.test"},
		{"other|v=TLSRPTv1 ;rua=mailto:a@b.test;x=y", "mailto:a@b.test"},
		{"v=TLSRPTv1; rua=MAILTO:a%2Bb@b.test?subject=x, https://b.test:444/r?a#b, ftp://x", "mailto:a+b@b.test https://b.test:444/r?a"},
		{"v=TLSRPTv1; rua=" + strings.Repeat("mailto:a@b.test,", 99), strings.TrimSpace(strings.Repeat("mailto:a@b.test ", 5))},
	} {
		got := strings.Join(tlsrpt.Targets(strings.Split(c.texts, "|")), " ")
		if strings.ReplaceAll(got, `"`, "") != c.want {
			t.Errorf("%.80q: got %q, want %q", c.texts, got, c.want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a@b.test,https://c.test/")
	f.Fuzz(func(t *testing.T, s string) {
		for _, u := range tlsrpt.Targets([]string{s}) {
			if strings.ContainsAny(u, "\r\n\x00") {
				t.Errorf("%q: got target %q", s, u)
			}
		}
	})
}

func TestOneReportADayAndDomainWithRestartsBetween(t *testing.T) {
	k := newKit(t)
	k.record("a.test", "v=TLSRPTv1; rua=mailto:tls@a.test")
	k.record("web.test", "v=TLSRPTv1; rua=https://reports.test/v1?x=1")
	sts := tlsrpt.Policy{Type: tlsrpt.PolicySTS, Domain: "a.test", Lines: []string{"version: STSv1", "mode: enforce"}, MX: []string{"mx.a.test"}}
	bad := &tlsrpt.Failure{Type: tlsrpt.Expired, Host: "mx.a.test", IP: "192.0.2.1", SourceIP: "192.0.2.9", Reason: strings.Repeat("x", 1000), Helo: strings.Repeat("y", 4000)}
	for range 3 {
		k.r.Session(tlsrpt.Session{Domain: "a.test", Results: []tlsrpt.Result{{Policy: sts, Failure: bad}}})
		k.r.Session(tlsrpt.Session{Domain: "a.test", Results: []tlsrpt.Result{{Policy: sts}}})
		k.r.Tick(t.Context())
		k.restart() // as after kill -9: what the last tick wrote is there
	}
	k.r.Session(none("web.test", nil))
	k.r.Session(none("unasked.test", nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.r.Run(ctx); err != nil { // the end writes too
		t.Error(err)
	}
	k.restart()
	if mails, posts := k.sent(); mails != 1 || posts != 1 {
		t.Fatalf("got %d mails and %d posts, want 1 each; log:\n%s", mails, posts, k.log)
	}
	if files, _ := filepath.Glob(filepath.Join(k.opt.Dir, "2026*")); len(files) > 0 {
		t.Errorf("files of days that are done: %q, want none", files)
	}
	rep := k.open(k.mails[0])
	want := map[string]any{"total-successful-session-count": 3.0, "total-failure-session-count": 3.0}
	pol := rep["policies"].([]any)[0].(map[string]any)
	if got := pol["summary"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("summary: got %v, want %v", got, want)
	}
	detail := pol["failure-details"].([]any)[0].(map[string]any)
	if detail["failed-session-count"] != 3.0 || detail["result-type"] != "certificate-expired" || detail["receiving-ip"] != "192.0.2.1" || len(detail["failure-reason-code"].(string)) != 200 ||
		len(detail["receiving-mx-helo"].(string)) != 200 {
		t.Errorf("detail: got %v", detail)
	}
	if got := fmt.Sprint(pol["policy"]); got != "map[mx-host:[mx.a.test] policy-domain:a.test policy-string:[version: STSv1 mode: enforce] policy-type:sts]" {
		t.Errorf("policy: got %s", got)
	}
	if got := fmt.Sprintln(rep["date-range"], rep["organization-name"], rep["contact-info"]); got != "map[end-datetime:2026-11-23T23:59:59Z start-datetime:2026-11-23T00:00:00Z] our.test postmaster@our.test\n" {
		t.Errorf("got %s", got)
	}
	web := unzip(t, k.posts[0])
	if got := fmt.Sprint(web["policies"].([]any)[0].(map[string]any)["policy"]); got != "map[policy-domain:web.test policy-type:no-policy-found]" {
		t.Errorf("without a policy: got %s", got)
	}
}

// open takes a report's message apart.
func (k *kit) open(s string) map[string]any {
	k.t.Helper()
	to, text, _ := strings.Cut(s, "\n")
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		k.t.Fatal(err)
	}
	for name, want := range map[string]string{
		"To": "<" + to + ">", "TLS-Report-Domain": "a.test", "TLS-Report-Submitter": "our.test", "TLS-Required": "No", "Auto-Submitted": "auto-generated",
	} {
		if got := m.Header.Get(name); got != want {
			k.t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := m.Header.Get("Subject"); !strings.HasPrefix(got, "Report Domain: a.test Submitter: our.test Report-ID: <20261123.") {
		k.t.Errorf("subject: got %q", got)
	}
	for _, line := range strings.SplitAfter(text, "\n") {
		if line != "" && !strings.HasSuffix(line, "\r\n") || len(line) > 200 {
			k.t.Errorf("line %q: want CR LF, and no longer than mail takes", line)
		}
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "tlsrpt" {
		k.t.Errorf("type: got %s %v, %v", kind, params, err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	if p, err := r.NextPart(); err != nil || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/plain") {
		k.t.Fatalf("first part: %v, %v", p, err)
	}
	p, err := r.NextPart()
	if err != nil {
		k.t.Fatal(err)
	}
	if want := fmt.Sprintf("our.test!a.test!%d!%d.json.gz", monday.Unix(), monday.Unix()+86399); p.FileName() != want || p.Header.Get("Content-Type") != "application/tlsrpt+gzip" {
		k.t.Errorf("second part: got %v, want the name %s", p.Header, want)
	}
	b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := r.NextPart(); err != io.EOF {
		k.t.Errorf("behind the second part: got %v, want the end", err)
	}
	return unzip(k.t, b)
}

func unzip(t *testing.T, b []byte) map[string]any {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.NewDecoder(z).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReportsThatNobodyTakesAreTriedForTwoDays(t *testing.T) {
	k := newKit(t)
	k.record("web.test", "v=TLSRPTv1; rua=https://reports.test/v1?x=1")
	k.record("a.test", "v=TLSRPTv1; rua=mailto:tls@a.test")
	k.record("fail.test", "v=TLSRPTv1; rua=mailto:tls@fail.test")
	k.record("both.test", "v=TLSRPTv1; rua=mailto:tls@both.test,https://other.test/") // a host with another certificate
	k.zone.Rcode("_smtp._tls.fail.test", wire.RcodeServerFailure)
	for _, d := range []string{"web.test", "a.test", "fail.test"} {
		k.r.Session(none(d, nil))
	}
	k.code, k.bad = http.StatusFound, errors.New("disk full")
	if mails, posts := k.sent(); mails != 0 || posts < 40 || posts > 49 {
		t.Errorf("got %d mails, %d posts; want none, and one an hour for two days", mails, posts)
	}
	for _, d := range []string{"web.test", "a.test", "fail.test"} {
		if n := strings.Count(k.log.String(), "domain="+d); n < 1 || n > 2 {
			t.Errorf("%s is in the log %d times, want once or twice:\n%s", d, n, k.log)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(k.opt.Dir, "2026*")); len(files) > 0 {
		t.Errorf("files of a day that was given up: %q, want none", files)
	}
	k.bad = nil
	k.r.Session(none("both.test", nil))
	if mails, _ := k.sent(); mails != 1 {
		t.Errorf("one of two places takes it: got %d mails, want 1", mails)
	}
}

func TestReportsOfADayAreSpread(t *testing.T) {
	k := newKit(t)
	var list []time.Duration
	for i := range 200 {
		list = append(list, k.r.DueAt(monday, fmt.Sprintf("d%d.test", i)).Sub(monday.Add(24*time.Hour)))
	}
	slices.Sort(list)
	if list[0] < 5*time.Minute || list[199] > 4*time.Hour+5*time.Minute || list[199]-list[0] < 3*time.Hour {
		t.Errorf("200 reports go out from %v to %v after the day, want over four hours", list[0], list[199])
	}
	for i := range 199 {
		if list[i+1]-list[i] > time.Hour {
			t.Errorf("an hour without a report after %v", list[i])
		}
	}
}

func TestCountersAreBounded(t *testing.T) {
	k := newKit(t)
	k.record("a.test", "v=TLSRPTv1; rua=mailto:tls@a.test")
	for i := range 1000 {
		k.r.Session(none("a.test", &tlsrpt.Failure{Type: tlsrpt.Invalid, Reason: fmt.Sprint(i)}))
		s := none("a.test", nil)
		s.Results[0].Policy.Domain = fmt.Sprint(i)
		k.r.Session(s)
	}
	for i := range 25000 {
		k.r.Session(none(fmt.Sprint(i), nil))
	}
	k.r.Tick(t.Context())
	info, err := os.Stat(filepath.Join(k.opt.Dir, "2026-11-23.json"))
	if err != nil || info.Size() > 4<<20 {
		t.Errorf("the file: got %v, %v; want 4 MiB at most", info.Size(), err)
	}
	k.sent()
	for _, m := range k.mails {
		rep := k.open(m)
		p := rep["policies"].([]any)
		first := p[0].(map[string]any)
		if len(p) != 20 || len(first["failure-details"].([]any)) != 50 || first["summary"].(map[string]any)["total-failure-session-count"] != 1000.0 {
			t.Errorf("got %d policies, %d details of %v", len(p), len(first["failure-details"].([]any)), first["summary"])
		}
	}
	if len(k.mails) != 1 {
		t.Errorf("got %d mails, want 1", len(k.mails))
	}
}

func TestWithoutReportsNothingIsCountedAndNothingSent(t *testing.T) {
	k := newKit(t)
	k.record("a.test", "v=TLSRPTv1; rua=mailto:tls@a.test")
	k.r.Session(none("a.test", nil))
	set := k.opt.Settings
	set.Reports = false
	k.r.Configure(set)
	if mails, _ := k.sent(); mails != 0 {
		t.Errorf("got %d mails, want none", mails)
	}
	k.r.Session(none("a.test", nil))
	k.r.Configure(k.opt.Settings)
	if mails, _ := k.sent(); mails != 0 {
		t.Errorf("of days long gone, and of one that was not counted: got %d mails, want none", mails)
	}
}

func TestSpoiledFilesStopNothing(t *testing.T) {
	k := newKit(t)
	for name, text := range map[string]string{
		"2026-11-22.json": "{", "2026-11-21.json": `{"start":"2026-11-01T00:00:00Z"}`, "2026-11-23.json": `{"start":"2026-11-23T00:00:00Z","domains":{"a.test":[null]}}`,
		"history.json": `{"a.test":{"level":77}}`, "2026-13-99.json": "", "2026-11-23.sent": "\x00",
	} {
		if err := os.WriteFile(filepath.Join(k.opt.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.record("a.test", "v=TLSRPTv1; rua=mailto:tls@a.test")
	k.restart()
	k.r.Session(none("a.test", nil))
	if mails, _ := k.sent(); mails != 1 {
		t.Errorf("got %d mails, want 1; log:\n%s", mails, k.log)
	}
	if n := strings.Count(k.log.String(), "op=read"); n != 2 {
		t.Errorf("%d complaints, want 2:\n%s", n, k.log)
	}
}

func TestADowngradeIsSaidOnceADay(t *testing.T) {
	k := newKit(t)
	see := func(what string, level tlsrpt.Level, want string) {
		t.Helper()
		k.log.Reset()
		k.r.Session(tlsrpt.Session{Domain: "a.test", Host: "mx.a.test", Level: level, Usable: true})
		got := ""
		if _, fields, ok := strings.Cut(k.log.String(), "event=tls-downgraded "); ok {
			got = strings.TrimSpace(fields)
		} else if strings.Contains(k.log.String(), "tls-downgraded") {
			got = k.log.String()
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		k.r.Tick(t.Context())
		k.restart()
	}
	k.log.Reset()
	k.r.Session(tlsrpt.Session{Domain: "a.test", Host: "mx.a.test", Level: tlsrpt.Authenticated})
	see("never seen", tlsrpt.Clear, "")
	see("better", tlsrpt.Encrypted, "")
	see("the same", tlsrpt.Encrypted, "")
	see("worse", tlsrpt.Clear, "was=encrypted now=none")
	see("worse again", tlsrpt.Clear, "")
	see("best", tlsrpt.Authenticated, "")
	see("worse than best", tlsrpt.Encrypted, "was=authenticated now=encrypted")
	k.now = k.now.Add(25 * time.Hour)
	see("a day later", tlsrpt.Clear, "was=authenticated now=none")
	k.now = k.now.Add(31 * 24 * time.Hour)
	see("a month later", tlsrpt.Encrypted, "")
	see("the best is forgotten", tlsrpt.Encrypted, "")
	k.now = k.now.Add(31 * 24 * time.Hour)
	see("used to it", tlsrpt.Clear, "")
	see("nothing to lose", tlsrpt.Clear, "")
}

func TestCertificateErrorsHaveTheirTypes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want tlsrpt.ResultType
	}{
		{errors.New("x"), "validation-failure"},
		{fmt.Errorf("x: %w", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}), "certificate-host-mismatch"},
		{fmt.Errorf("x: %w", x509.CertificateInvalidError{Reason: x509.Expired}), "certificate-expired"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, "validation-failure"},
		{x509.UnknownAuthorityError{}, "certificate-not-trusted"},
	} {
		if got := tlsrpt.Certificate(c.err); got != c.want {
			t.Errorf("%v: got %s, want %s", c.err, got, c.want)
		}
	}
}

func TestPlacesThatTakeTheirTimeHoldUpNothing(t *testing.T) {
	k := newKit(t)
	const domains = 40
	for i := range domains {
		domain := fmt.Sprintf("d%02d.test", i)
		k.record(domain, "v=TLSRPTv1; rua=mailto:tls@"+domain)
		k.r.Session(none(domain, nil))
	}
	k.r.Tick(t.Context())
	k.now = k.now.Add(24 * time.Hour)
	mail := k.opt.Mail
	k.opt.Mail = func(to mta.Address, content []byte) error {
		k.now = k.now.Add(50 * time.Second)
		if to.Domain < "d20.test" {
			return errors.New("timed out")
		}
		return mail(to, content)
	}
	k.restart()
	asked := k.now
	if k.r.Tick(t.Context()); k.now.Sub(asked) > 3*time.Minute {
		t.Errorf("counters are not written for %v", k.now.Sub(asked))
	}
	for range domains { // in less than the hour after which those that failed come again
		k.r.Tick(t.Context())
	}
	if len(k.mails) != domains/2 {
		t.Errorf("%d reports sent, want %d", len(k.mails), domains/2)
	}
}
