package lab_test

import (
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// server is one mail server of the world.
type server struct {
	addr string
	sink *mtatest.Sink
}

// letter is one message and what must become of it.
type letter struct {
	domain  string
	require bool     // with REQUIRETLS
	waive   bool     // with TLS-Required: No
	want    []string // in the line of the log that tells of its first attempt
	to      *server  // who has it then; nil: nobody may have it
}

// web serves the policies, and takes reports.
type web struct {
	mu       sync.Mutex // guards reports
	policies map[string]string
	reports  []map[string]any
}

func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		var v map[string]any
		if z, err := gzip.NewReader(r.Body); err == nil {
			_ = json.NewDecoder(z).Decode(&v) // what is no report is seen to be none
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reports = append(w.reports, v)
		return
	}
	rw.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(rw, w.policies[strings.TrimPrefix(r.Host, "mta-sts.")])
}

func policy(mode, mx string) string {
	return "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: 86400\n"
}

func TestMailGoesOnlyWhereItsDomainSays(t *testing.T) {
	need(t)
	// One certificate under an authority that the sender trusts, and one that nobody knows.
	trusted := mtatest.NewCerts(t, "mx.enforce.plain", "reports.plain", "mta-sts.enforce.plain", "mta-sts.stranger.plain", "mta-sts.other.plain", "mta-sts.testing.plain")
	stranger := mtatest.NewCerts(t, "mx.dane.lab", "mx.stranger.plain")
	servers := map[string]*server{
		"good":     {addr: "192.0.2.10", sink: &mtatest.Sink{Config: stranger.Server(), Extensions: []string{"PIPELINING", "REQUIRETLS"}}},
		"mismatch": {addr: "192.0.2.11", sink: &mtatest.Sink{Config: trusted.Server()}},
		"stripped": {addr: "192.0.2.12", sink: &mtatest.Sink{}},
		"enforce":  {addr: "192.0.2.13", sink: &mtatest.Sink{Config: trusted.Server()}},
		"stranger": {addr: "192.0.2.14", sink: &mtatest.Sink{Config: stranger.Server()}},
		"six":      {addr: sixAddr, sink: &mtatest.Sink{}},
	}
	addrs := []string{dnsAddr, webAddr}
	for _, s := range servers {
		addrs = append(addrs, s.addr)
	}
	sender, world := connect(t, addrs)
	right := tlsa(t, 3, stranger.Leaf.Certificate[0])
	authority := tlsa(t, 2, stranger.Leaf.Certificate[1])
	wrong := "TLSA 3 1 1 " + strings.Repeat("00", 32)
	startDNS(t, sender, world, map[string]string{
		"lab": `dane MX 10 mx.dane
mx.dane A 192.0.2.10
_25._tcp.mx.dane ` + right + `
authority MX 10 mx.dane.lab.
alias MX 10 cname.alias
cname.alias CNAME mx.dane
anchor MX 10 mx.anchor
mx.anchor A 192.0.2.10
_25._tcp.mx.anchor ` + authority + `
mismatch MX 10 mx.mismatch
mx.mismatch A 192.0.2.11
_25._tcp.mx.mismatch ` + wrong + `
second MX 10 mx.mismatch
second MX 20 mx.dane
stripped MX 10 mx.stripped
mx.stripped A 192.0.2.12
_25._tcp.mx.stripped ` + right + `
forged MX 10 mx.bogus
lost MX 10 mx.lost
mx.lost A 192.0.2.11
_25._tcp.mx.lost CNAME tlsa.bogus
bogus NS ns.bogus
bogus DS 1 13 2 ` + strings.Repeat("00", 32) + `
ns.bogus A ` + dnsAddr + `
`,
		"bogus.lab": "mx A 192.0.2.11\n@ MX 10 mx\ntlsa " + right + "\n",
		"plain": `dane MX 10 mx.dane
mx.dane A 192.0.2.14
_25._tcp.mx.dane ` + wrong + `
enforce MX 10 mx.enforce
mx.enforce A 192.0.2.13
_mta-sts.enforce TXT "v=STSv1; id=1"
_smtp._tls.enforce TXT "v=TLSRPTv1; rua=https://reports.plain/v1,mailto:tls@enforce.plain"
stranger MX 10 mx.stranger
mx.stranger A 192.0.2.14
_mta-sts.stranger TXT "v=STSv1; id=1"
other MX 10 mx.enforce
_mta-sts.other TXT "v=STSv1; id=1"
testing MX 10 mx.testing
mx.testing A 192.0.2.14
_mta-sts.testing TXT "v=STSv1; id=1"
mta-sts.enforce A ` + webAddr + `
mta-sts.stranger A ` + webAddr + `
mta-sts.other A ` + webAddr + `
mta-sts.testing A ` + webAddr + `
reports A ` + webAddr + `
null MX 0 .
dead MX 10 mx.dead
dead MX 20 mx.stranger
mx.dead A ` + silentAddr + `
refuses MX 10 ns
refuses MX 20 mx.stranger
six MX 10 mx.six
mx.six AAAA ` + sixAddr + `
`,
	})
	for _, s := range servers {
		s.sink.StartOn(t, world.listen(t, net.JoinHostPort(s.addr, "25")))
	}
	w := &web{policies: map[string]string{
		"enforce.plain": policy("enforce", "mx.enforce.plain"), "stranger.plain": policy("enforce", "*.stranger.plain"),
		"other.plain": policy("enforce", "mx.other.plain"), "testing.plain": policy("testing", "mx.testing.plain"),
	}}
	site := &http.Server{Handler: w, TLSConfig: trusted.Server(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	port := world.listen(t, webAddr+":443")
	go func() { _ = site.ServeTLS(port, "", "") }() // ends with Close
	t.Cleanup(func() { _ = site.Close() })

	const taken, deferred, failed = "event=delivered", "event=deferred", "event=failed"
	stop := "4.7.5"
	letters := []letter{
		{domain: "dane.lab", want: []string{taken, `_SHA256 dane"`}, to: servers["good"]},
		{domain: "dane.lab", require: true, want: []string{taken, `_SHA256 dane"`}, to: servers["good"]},
		{domain: "anchor.lab", want: []string{deferred, stop, "mx.dane.lab"}}, // the authority is right, the name is another's
		{domain: "authority.lab", want: []string{taken, `dane"`}, to: servers["good"]},
		{domain: "alias.lab", want: []string{taken, `dane"`}, to: servers["good"]},
		{domain: "mismatch.lab", want: []string{deferred, stop, "matches no TLSA record"}},
		{domain: "mismatch.lab", waive: true, want: []string{taken}, to: servers["mismatch"]},
		{domain: "mismatch.lab", require: true, want: []string{failed, "5.7.30"}},
		{domain: "second.lab", want: []string{taken, `dane"`}, to: servers["good"]},
		{domain: "stripped.lab", want: []string{deferred, "4.7.4"}},
		{domain: "forged.lab", want: []string{deferred, "4.4.3"}},
		{domain: "bogus.lab", want: []string{deferred, "4.4.3"}},
		{domain: "lost.lab", want: []string{deferred, stop, "cannot be looked up"}},
		{domain: "dane.plain", want: []string{taken}, to: servers["stranger"]}, // records that DNSSEC does not vouch for
		{domain: "enforce.plain", want: []string{taken, `mta-sts"`}, to: servers["enforce"]},
		{domain: "enforce.plain", require: true, want: []string{failed, "5.7.30"}}, // the server does not announce it
		{domain: "stranger.plain", want: []string{deferred, stop, "unknown authority"}},
		{domain: "other.plain", want: []string{deferred, stop, "allows"}},
		{domain: "testing.plain", want: []string{taken}, to: servers["stranger"]},
		{domain: "null.plain", want: []string{failed, "5.1.10"}},
		{domain: "dead.plain", want: []string{taken}, to: servers["stranger"]},
		{domain: "refuses.plain", want: []string{taken}, to: servers["stranger"]},
		{domain: "six.plain", want: []string{taken, sixAddr}, to: servers["six"]},
		{domain: "six.plain", require: true, want: []string{failed, "5.7.30"}},
	}
	l := startRunner(t, sender, trusted.CertFile)
	ids := make([]mta.ID, len(letters))
	for i, m := range letters {
		ids[i] = l.send(m, i)
	}
	for i, m := range letters {
		l.expect(ids[i], i, m)
		for name, s := range servers {
			n := 0
			for _, got := range s.sink.Messages() {
				if strings.Contains(got.Data, mark(i)) {
					n++
					if m.require != strings.Contains(got.Mail, " REQUIRETLS") {
						t.Errorf("letter %d to %s: sent as %q, REQUIRETLS wanted: %v", i, m.domain, got.Mail, m.require)
					}
				}
			}
			if want := s == m.to; n != 1 && want || n != 0 && !want {
				t.Errorf("letter %d to %s: server %s has it %d times, want it there: %v", i, m.domain, name, n, want)
			}
		}
	}
	// The day before yesterday's counters were there at the start: their report goes out at once, to both places.
	mtatest.Eventually(t, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		mails := 0
		for _, got := range servers["enforce"].sink.Messages() {
			if strings.Contains(got.Data, "TLS-Report-Domain: enforce.plain\r\n") {
				mails++
			}
		}
		if len(w.reports) != 1 || mails != 1 || w.reports[0]["organization-name"] != "out.plain" {
			return fmt.Errorf("reports: got %v by https and %d by mail, want one each", w.reports, mails)
		}
		return nil
	})
	for _, event := range []string{"event=mta-sts-fetched domain=enforce.plain policy-id=1 mode=enforce", "event=tls-report-sent domain=enforce.plain"} {
		mtatest.Eventually(t, func() error {
			if !strings.Contains(l.text(), event) {
				return fmt.Errorf("the log has no %q", event)
			}
			return nil
		})
	}
}

func mark(i int) string { return fmt.Sprintf("letter number %d.", i) }

func tlsa(t *testing.T, usage int, der []byte) string {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("TLSA %d 1 1 %x", usage, sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

// need skips the test where it was not asked for: it takes a minute and changes the network of the machine, if only by
// namespaces of its own. Asked for, it fails for what is missing.
func need(t *testing.T) {
	t.Helper()
	if os.Getenv("POSTHOUSE_LAB") == "" {
		t.Skip("make lab runs it")
	}
	if os.Geteuid() != 0 {
		t.Fatal("needs root, for network namespaces")
	}
	for _, p := range []string{"ip", "knotd", "keymgr", "unbound", "dig"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v; on Debian: apt-get install iproute2 knot unbound bind9-dnsutils", err)
		}
	}
}

// runner is queue-runner in the sender's namespace, with its log.
type runner struct {
	t   *testing.T
	w   *spool.Writer
	log string
}

func startRunner(t *testing.T, in namespace, roots string) *runner {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "posthouse.toml")
	mtatest.Write(t, conf, fmt.Sprintf(`hostname = "out.plain"
state = "%[1]s/state"
run = "%[1]s/run"
[log]
format = "text"
[spool]
path = "%[1]s/spool"
[mailboxes]
path = "%[1]s/mail/{domain}/{local}"
[outbound]
resolver = ["127.0.0.1:53"]
`, dir))
	before := time.Now().UTC().Truncate(24 * time.Hour).Add(-48 * time.Hour)
	mtatest.Write(t, filepath.Join(dir, "state/queue/tls", before.Format(time.DateOnly)+".json"),
		fmt.Sprintf(`{"start":%q,"domains":{"enforce.plain":[{"policy":{"policy-type":"no-policy-found","policy-domain":"enforce.plain"},"ok":3}]}}`, before.Format(time.RFC3339)))
	r := &runner{t: t, log: filepath.Join(dir, "log")}
	in.daemon(t, []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=/nonexistent"}, "sh", "-c", `exec "$0" -c "$1" 2>"$2"`, filepath.Join(mtatest.Build(t, "../../cmd/queue-runner"), "queue-runner"), conf, r.log)
	mtatest.Eventually(t, func() error {
		if !strings.Contains(r.text(), "event=ready") {
			return fmt.Errorf("queue-runner is not ready:\n%s", r.text())
		}
		return nil
	})
	boot, err := spool.BootID()
	if err != nil {
		t.Fatal(err)
	}
	trigger := spool.NewTrigger(filepath.Join(dir, "spool"))
	t.Cleanup(trigger.Close)
	r.w = spool.OpenWriter(durable.OS{}, filepath.Join(dir, "spool"), spool.WriterOptions{Boot: boot, Notify: trigger.Poke})
	t.Cleanup(r.w.Close)
	return r
}

func (r *runner) text() string {
	b, err := os.ReadFile(r.log)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return string(b)
}

// send puts a letter into the spool, as smtpd does.
func (r *runner) send(m letter, i int) mta.ID {
	r.t.Helper()
	header := "Subject: x\r\n"
	if m.waive {
		header += "TLS-Required: No\r\n"
	}
	in := r.w.Begin()
	if _, err := io.WriteString(in, header+"\r\n"+mark(i)+"\r\n"); err != nil {
		r.t.Fatal(err)
	}
	to, err := mta.ParseAddress("bob@" + m.domain)
	if err != nil {
		r.t.Fatal(err)
	}
	// The null sender, who asks not to be told: nothing but the letters is under way.
	e := &mta.Envelope{Role: mta.RoleMX, Rcpts: []mta.Recipient{{Address: to, Notify: "NEVER"}}, RequireTLS: m.require}
	if err := in.Commit(e); err != nil {
		r.t.Fatal(err)
	}
	return in.ID()
}

// expect waits for the first attempt of a letter, and holds its line against what is wanted.
func (r *runner) expect(id mta.ID, i int, m letter) {
	r.t.Helper()
	about := regexp.MustCompile(`(?m)^.*event=(?:delivered|deferred|failed) id=` + string(id) + ` .*$`)
	line := ""
	mtatest.Eventually(r.t, func() error {
		if line = about.FindString(r.text()); line == "" {
			return fmt.Errorf("no attempt for letter %d to %s yet", i, m.domain)
		}
		return nil
	})
	for _, part := range m.want {
		if !strings.Contains(line, part) {
			r.t.Errorf("letter %d to %s (requires TLS: %v): got\n%s\nwant %q in it", i, m.domain, m.require, line, part)
		}
	}
}
