package lab_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// postmaster runs posthouse in the sender's namespace.
type postmaster struct {
	t       *testing.T
	in      namespace
	program string
	conf    string
	env     []string
}

func (p *postmaster) run(args ...string) (code int, out, said string) {
	p.t.Helper()
	var o, e strings.Builder
	cmd := exec.Command("ip", append([]string{"netns", "exec", string(p.in), p.program}, append(args, "-c", p.conf)...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &o, &e, append(os.Environ(), p.env...)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// setup makes a domain, and returns the records that are to be published, with those that wait for something.
func (p *postmaster) setup(domain string, args ...string) (zone, policy string) {
	p.t.Helper()
	code, zone, said := p.run(append([]string{"setup", domain, "--non-interactive", "--user", "alice", "--no-password", "--address", senderAddr}, args...)...)
	if code != 0 {
		p.t.Fatalf("setup %s: got %d\n%s", domain, code, said)
	}
	zone, lines, _ := strings.Cut(zone, "; The policy of MTA-STS")
	for line := range strings.Lines(lines) {
		if text, ok := strings.CutPrefix(line, ";   "); ok {
			policy += text
		}
	}
	return strings.NewReplacer("; _25.", "_25.", "; _mta-sts.", "_mta-sts.").Replace(zone), policy
}

// What posthouse setup prints, put into the zone files of a real server as it is, is what posthouse check --dns wants: for the
// domain of the host, one below it, one that is no ASCII, and one in another zone; with a key that takes three strings.
func TestWhatSetupTellsIsWhatCheckWants(t *testing.T) {
	need(t)
	const probe = "192.0.2.10"
	domains := map[string]string{"example.lab": "example.lab", "lists.example.lab": "lists.example.lab", "bücher.lab": "xn--bcher-kva.lab", "other.plain": "other.plain"}
	names := []string{"mail.example.lab"}
	for _, d := range domains {
		names = append(names, "mta-sts."+d)
	}
	trusted := mtatest.NewCerts(t, names...)
	sender, world := connect(t, []string{dnsAddr, webAddr, probe})
	dir := t.TempDir()
	p := &postmaster{t: t, in: sender, program: filepath.Join(mtatest.Build(t, "../../cmd/posthouse"), "posthouse"), conf: filepath.Join(dir, "posthouse.toml"),
		env: []string{"SSL_CERT_FILE=" + trusted.CertFile, "SSL_CERT_DIR=/nonexistent"}}
	mtatest.Write(t, p.conf, fmt.Sprintf(`hostname = "mail.example.lab"
state = "%[1]s/state"
run = "%[1]s/run"
[spool]
path = "%[1]s/spool"
[users]
file = "%[1]s/users"
[mailboxes]
path = "%[1]s/mail/{domain}/{local}"
[tls]
certificate = %[2]q
key = %[3]q
[outbound]
resolver = ["127.0.0.1:53"]
[[smtpd.listen]]
address = ":465"
role = "submission"
tls = "implicit"
`, dir, trusted.CertFile, trusted.KeyFile))
	for _, d := range []string{"spool", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	long, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(long)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, fmt.Sprintf("state/keys/example.lab.mail%d.pem", time.Now().Year()))
	mtatest.Write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))

	zones := map[string]string{
		"lab":                  "probe MX 10 mx.probe\nmx.probe A " + probe + "\n",
		"plain":                "",
		"2.0.192.in-addr.arpa": "2 PTR mail.example.lab.\n",
	}
	w := &web{policies: map[string]string{}}
	for _, d := range []string{"example.lab", "lists.example.lab", "bücher.lab", "other.plain"} {
		zone, policy := p.setup(d)
		within := domains[d][strings.LastIndexByte(domains[d], '.')+1:]
		zones[within] += zone + "mta-sts." + domains[d] + ". A " + webAddr + "\n"
		w.policies[domains[d]] = policy
	}
	if n := strings.Count(zones["lab"], `" "`); n < 4 {
		t.Errorf("got %d texts of several strings, want a key of three and two of two\n%s", n, zones["lab"])
	}
	startDNS(t, sender, world, zones)
	(&mtatest.Sink{}).StartOn(t, world.listen(t, probe+":25"))
	site := &http.Server{Handler: w, TLSConfig: trusted.Server(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	port := world.listen(t, webAddr+":443")
	go func() { _ = site.ServeTLS(port, "", "") }() // ends with Close
	t.Cleanup(func() { _ = site.Close() })

	found := func(want int, args ...string) []map[string]string {
		t.Helper()
		var list []map[string]string
		code, out, said := p.run(append([]string{"check", "--dns", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != want {
			t.Errorf("%q: got %d, %v; want %d\n%s%s", args, code, err, want, out, said)
		}
		return list
	}
	good := map[string]int{}
	for _, f := range found(0, "--probe", "probe.lab") {
		if f["check"] == "clock" || f["check"] == "disk" {
			continue // this machine's own
		}
		if f["level"] != "ok" {
			t.Errorf("%s: %s: %s: %s\n%s", f["level"], f["check"], f["subject"], f["text"], f["fix"])
		}
		good[f["check"]]++
	}
	want := map[string]int{"address": 1, "ptr": 1, "mx": 4, "spf": 5, "dkim": 8, "dmarc": 4, "tlsrpt": 4, "mta-sts": 4, "tlsa": 1, "port25": 1}
	if fmt.Sprint(good) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", good, want)
	}

	_ = site.Close()
	faults := 0
	for _, f := range found(1, "--probe", "nowhere.lab") {
		if f["level"] == "fault" {
			faults++
			if f["check"] != "mta-sts" || !strings.Contains(f["text"], "refused") || !strings.Contains(f["fix"], "mta-sts.txt") {
				t.Errorf("without the web server: %v", f)
			}
		}
	}
	if faults != 4 {
		t.Errorf("without the web server: got %d faults, want one for each policy", faults)
	}
}
