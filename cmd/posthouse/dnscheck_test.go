package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/remote"
)

// published is an instance that posthouse setup has made, and the records that it told.
type published struct {
	config  string
	records []string
}

func newPublishedHome(t *testing.T) published {
	t.Helper()
	dir, path := home(t)
	for _, d := range []string{"spool", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	code, told, said := runSetup(t, "", "example.test", "-c", path, "--non-interactive", "--user", "alice", "--no-password", "--address", "192.0.2.1")
	if code != 0 {
		t.Fatalf("got %d\n%s", code, said)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := published{config: string(text), records: []string{"1.2.0.192.in-addr.arpa. IN PTR mail.example.test."}}
	for line := range strings.Lines(strings.ReplaceAll(told, "; _25.", "_25.")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != ';' {
			p.records = append(p.records, line)
		}
	}
	return p
}

// world is a published home and what it can reach: the zone, mail servers by their address, and the web server of its policy.
type world struct {
	path   string
	zone   *mtatest.Zone
	certs  *mtatest.Certs
	greets map[string]string // by host and port
	web    http.HandlerFunc
	own    []netip.Addr
	leaves []netip.Addr
	stop   context.CancelFunc
}

// world publishes the records in a zone of its own.
func (p published) world(t *testing.T) *world {
	t.Helper()
	a := netip.MustParseAddr("192.0.2.1")
	w := &world{path: filepath.Join(t.TempDir(), "posthouse.toml"), zone: mtatest.NewZone(t, p.records...), certs: mtatest.NewCerts(t, "mail.example.test", "mta-sts.example.test"),
		own: []netip.Addr{a}, leaves: []netip.Addr{a}, greets: map[string]string{"192.0.2.25:25": "220 mx.probe.test ESMTP"}}
	if err := os.WriteFile(w.path, fmt.Appendf(nil, "%s\n[outbound]\nresolver = [%q]\n", p.config, w.zone.Addr()), 0o644); err != nil {
		t.Fatal(err)
	}
	w.publish(t, "probe.test. IN MX 10 mx.probe.test.", "mx.probe.test. IN A 192.0.2.25")
	return w
}

func (w *world) publish(t *testing.T, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := w.zone.Add(r); err != nil {
			t.Fatal(err)
		}
	}
}

// replace publishes records at a name in place of those that are there.
func (w *world) replace(t *testing.T, name string, records ...string) {
	t.Helper()
	w.zone.Remove(name)
	w.publish(t, records...)
}

// policy publishes a policy of MTA-STS with its record.
func (w *world) policy(t *testing.T, id, text string) {
	t.Helper()
	w.publish(t, fmt.Sprintf(`_mta-sts.example.test. IN TXT "v=STSv1; id=%s"`, id), "mta-sts.example.test. IN A 192.0.2.1")
	w.web = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(rw, text)
	}
}

// trusted gives the host a certificate that others trust.
func (w *world) trusted(t *testing.T) {
	t.Helper()
	cfg, err := config.Read(w.path)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{w.certs.CertFile: cfg.TLS.Certificate, w.certs.KeyFile: cfg.TLS.Key} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	value, err := tlsaRecord(w.certs.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	w.replace(t, "_25._tcp.mail.example.test", "_25._tcp.mail.example.test. IN TLSA "+value)
}

func (w *world) dial(ctx context.Context, network, hostPort string, web string) (net.Conn, error) {
	if hostPort == "mta-sts.example.test:443" && web != "" {
		return (&net.Dialer{}).DialContext(ctx, network, web)
	}
	greeting, ok := w.greets[hostPort]
	if !ok {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	go func() {
		_, _ = io.WriteString(far, greeting+"\r\n")
		_, _ = io.Copy(io.Discard, far) // until the other side goes
		_ = far.Close()
	}()
	return near, nil
}

// check runs the check with all that is told to others in place of the world.
func (w *world) check(t *testing.T) (code int, worst map[string]string, all []finding, text string) {
	t.Helper()
	cfg, err := config.Read(w.path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := remote.ResolverFromConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := ""
	if w.web != nil {
		srv := httptest.NewUnstartedServer(w.web)
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		srv.TLS = w.certs.Server()
		srv.StartTLS()
		defer srv.Close()
		web = srv.Listener.Addr().String()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.stop = cancel
	k := &dnsCheck{cfg: cfg, r: r, client: w.certs.Client(""), own: w.own, leaves: w.leaves,
		dial: func(ctx context.Context, network, hostPort string) (net.Conn, error) {
			return w.dial(ctx, network, hostPort, web)
		}}
	k.all(ctx, "probe.test")
	var out, plain strings.Builder
	err = k.report(true, &out, &plain)
	if err := json.Unmarshal([]byte(out.String()), &all); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	var coded *codedError
	if errors.As(err, &coded) {
		code = coded.ExitCode()
	}
	_ = k.report(false, &plain, &plain) // the same error
	order := map[string]int{levelOK: 0, levelWarning: 1, levelUnknown: 2, levelFault: 3}
	worst = map[string]string{}
	for _, f := range all {
		if before, ok := worst[f.Check]; !ok || order[f.Level] > order[before] {
			worst[f.Check] = f.Level
		}
	}
	return code, worst, all, plain.String()
}

func TestWhatSetupTellsToPublishIsWhatIsChecked(t *testing.T) {
	w := newPublishedHome(t).world(t)
	code, got, _, text := w.check(t)
	for _, check := range []string{"address", "ptr", "mx", "spf", "dkim", "dmarc", "tlsrpt", "port25"} {
		if got[check] != levelOK {
			t.Errorf("%s: got %q, want ok", check, got[check])
		}
	}
	if code != 0 || got["mta-sts"] != levelWarning || got["tlsa"] != levelWarning {
		t.Errorf("got %d, MTA-STS %q, TLSA %q; want 0 and warnings of the record that waits for its policy, and of a zone that is not signed\n%s", code, got["mta-sts"], got["tlsa"], text)
	}
}

const (
	policyOfSetup = "version: STSv1\nmode: testing\nmx: mail.example.test\nmax_age: 604800\n"
	policyEnforce = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.test\r\nmax_age: 604800\r\n"
)

func TestAllIsWell(t *testing.T) {
	w := newPublishedHome(t).world(t)
	w.zone.Sign(".example.test", "example.test")
	w.trusted(t)
	w.policy(t, stsID(policyEnforce), policyEnforce)
	code, got, _, text := w.check(t)
	for check, level := range got {
		if level != levelOK && check != "clock" && check != "disk" {
			t.Errorf("%s: got %s, want ok", check, level)
		}
	}
	if code != 0 || len(got) < 11 {
		t.Errorf("got %d and %d checks\n%s", code, len(got), text)
	}
}

// Each fault alone makes a finding that tells it and what to do.
func TestWhatIsPublishedAndWrong(t *testing.T) {
	base := newPublishedHome(t)
	selector := fmt.Sprintf("mail%d._domainkey.example.test", year())
	rsa := func(t *testing.T, w *world) string {
		cfg, err := config.Read(w.path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := newZone(cfg, "example.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		return z.find(selector, "TXT")[0]
	}
	key := func(change func(record string) string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			record := change(rsa(t, w))
			w.replace(t, selector, selector+". IN TXT "+strings.Join(txtStrings(record), " "))
		}
	}
	at := func(name string, records ...string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.replace(t, name, records...) }
	}
	more := func(records ...string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { w.publish(t, records...) }
	}
	mx, txt := "example.test. IN MX 10 mail.example.test.", `example.test. IN TXT "v=spf1 mx -all"`
	spf := func(texts ...string) func(*testing.T, *world) {
		list := []string{mx}
		for _, s := range texts {
			list = append(list, fmt.Sprintf("example.test. IN TXT %q", s))
		}
		return at("example.test", list...)
	}
	const ptr, tlsa = "1.2.0.192.in-addr.arpa", "_25._tcp.mail.example.test"
	lookups := "v=spf1"
	for i := range 11 {
		lookups += fmt.Sprintf(" include:i%d.test", i)
	}
	included := func(t *testing.T, w *world) {
		for i := range 11 {
			w.publish(t, fmt.Sprintf(`i%d.test. IN TXT "v=spf1 ip4:198.51.100.%d -all"`, i, i))
		}
	}
	for name, row := range map[string]struct {
		break_       func(*testing.T, *world)
		check, level string
		text, fix    string
	}{
		"no MX":                   {at("example.test", txt), "mx", levelFault, "no record of this type", mx},
		"a null MX":               {at("example.test", txt, "example.test. IN MX 0 ."), "mx", levelFault, "takes no mail", mx},
		"another host's MX":       {at("example.test", txt, "example.test. IN MX 10 mx.other.test.", "mx.other.test. IN A 198.51.100.1"), "mx", levelFault, "mail goes to mx.other.test, and not to this host", mx},
		"an alias as MX":          {at("example.test", txt, "example.test. IN MX 10 mx.example.test.", "mx.example.test. IN CNAME mail.example.test."), "mx", levelFault, "mx.example.test is an alias (CNAME)", mx},
		"the host an alias":       {at("mail.example.test", "mail.example.test. IN CNAME a.example.test.", "a.example.test. IN A 192.0.2.1"), "mx", levelFault, "mail.example.test is an alias", "mail.example.test. IN A 192.0.2.1"},
		"a second MX without end": {more("example.test. IN MX 20 gone.example.test."), "mx", levelFault, "gone.example.test: no such name", `MX ... gone.example.test.`},
		"another name of it":      {at("example.test", txt, "example.test. IN MX 10 mx.example.test.", "mx.example.test. IN A 192.0.2.1"), "mx", levelOK, "mx.example.test", ""},

		"no address":            {at("mail.example.test"), "address", levelFault, "no such name", "mail.example.test. IN A 192.0.2.1"},
		"a private address":     {at("mail.example.test", "mail.example.test. IN A 10.0.0.1"), "address", levelFault, "10.0.0.1 is an address that others cannot reach", "mail.example.test. IN A 192.0.2.1"},
		"a loopback address":    {at("mail.example.test", "mail.example.test. IN A 127.0.1.1"), "address", levelFault, "others cannot reach", "mail.example.test. IN A 192.0.2.1"},
		"of another machine":    {at("mail.example.test", "mail.example.test. IN A 192.0.2.25"), "address", levelFault, "mx.probe.test answers there", "mail.example.test. IN A 192.0.2.1"},
		"where nobody answers":  {at("mail.example.test", "mail.example.test. IN A 198.51.100.1"), "address", levelFault, "none of this machine's", "mail.example.test. IN A 192.0.2.1"},
		"mail leaves elsewhere": {func(_ *testing.T, w *world) { w.leaves = append(w.leaves, netip.MustParseAddr("2001:db8::9")) }, "address", levelFault, "mail leaves this host from 2001:db8::9", "mail.example.test. IN AAAA 2001:db8::9, or set outbound.ipv6"},
		"behind translation":    {func(_ *testing.T, w *world) { w.own, w.leaves = nil, nil }, "address", levelWarning, "none of this machine's", "port 25 of 192.0.2.1"},
		"it answers there":      {func(_ *testing.T, w *world) { w.own, w.greets["192.0.2.1:25"] = nil, "220-MAIL.example.test hello" }, "address", levelOK, "where it answers", ""},

		"no name":                {at(ptr), "ptr", levelFault, "no such name", ptr + ". IN PTR mail.example.test."},
		"a name that leads away": {at(ptr, ptr+". IN PTR vps1.hoster.test."), "ptr", levelFault, "vps1.hoster.test, which does not lead back", ptr + ". IN PTR mail.example.test."},
		"a name out of numbers":  {at(ptr, ptr+". IN PTR host-192-0-2-1.hoster.test.", "host-192-0-2-1.hoster.test. IN A 192.0.2.1"), "ptr", levelFault, "as providers give", ptr + ". IN PTR mail.example.test."},
		"a name in hexadecimal":  {at(ptr, ptr+". IN PTR c0000201.hoster.test.", "c0000201.hoster.test. IN A 192.0.2.1"), "ptr", levelFault, "as providers give", ptr},
		"a name that is lent":    {at(ptr, ptr+". IN PTR x.dyn.hoster.test.", "x.dyn.hoster.test. IN A 192.0.2.1"), "ptr", levelFault, "as providers give", ptr},
		"another good name":      {at(ptr, ptr+". IN PTR www.example.test.", "www.example.test. IN A 192.0.2.1"), "ptr", levelWarning, "www.example.test, which leads back", ptr},

		"no SPF":           {spf(), "spf", levelFault, "no record", txt},
		"an SPF of others": {spf("v=spf1 ip4:198.51.100.0/24 ~all"), "spf", levelFault, "does not allow 192.0.2.1, from which this host sends: softfail", `"v=spf1 ip4:192.0.2.1 ip4:198.51.100.0/24 ~all"`},
		"two of SPF":       {more(`example.test. IN TXT "v=spf1 +all"`), "spf", levelFault, "example.test has 2 records", txt},
		"a fault in SPF":   {spf("v=spf1 ip4:192.0.2.999 -all"), "spf", levelFault, "take the record for an error", `"v=spf1 ip4:192.0.2.1 `},
		"eleven questions": {func(t *testing.T, w *world) { included(t, w); spf(lookups+" mx -all")(t, w) }, "spf", levelFault, "more than 10 terms", `"v=spf1 ip4:192.0.2.1 include:i0.test `},
		"ten questions": {func(t *testing.T, w *world) {
			included(t, w)
			spf(strings.Replace(lookups, " include:i0.test include:i1.test", "", 1)+" mx -all")(t, w)
		}, "spf", levelOK, "it allows 192.0.2.1", ""},
		"eleven after us":        {func(t *testing.T, w *world) { included(t, w); spf("v=spf1 ip4:192.0.2.1"+lookups[6:]+" -all")(t, w) }, "spf", levelWarning, "more than 10 questions", "take out"},
		"an included of nothing": {spf("v=spf1 mx include:none.test -all"), "spf", levelWarning, "none.test, which it names, has no record", "none.test"},
		"an SPF that goes round": {spf("v=spf1 include:example.test -all"), "spf", levelFault, "more than 10 terms", `"v=spf1 ip4:192.0.2.1 `},
		"no SPF, no address": {func(t *testing.T, w *world) {
			w.replace(t, "mail.example.test")
			spf()(t, w)
			w.own, w.leaves = nil, nil
		}, "spf", levelFault, "no record that can be read", txt},
		"SPF, no address": {func(t *testing.T, w *world) {
			w.replace(t, "mail.example.test")
			w.own, w.leaves = nil, nil
		}, "spf", levelWarning, "from which addresses this host sends is not known", ""},
		"no SPF of the host":    {at("mail.example.test", "mail.example.test. IN A 192.0.2.1"), "spf", levelWarning, "may send by this name", `mail.example.test. IN TXT "v=spf1 a -all"`},
		"the host may not send": {at("mail.example.test", "mail.example.test. IN A 192.0.2.1", `mail.example.test. IN TXT "v=spf1 -all"`), "spf", levelFault, "does not allow 192.0.2.1, from which this host sends reports", `mail.example.test. IN TXT "v=spf1 a -all"`},

		"no key":                {at(selector), "dkim", levelFault, "DNS has no record", selector + `. IN TXT "v=DKIM1; k=rsa; p=`},
		"another key":           {key(func(r string) string { return r[:len(r)-8] + "AAAAAAAA" }), "dkim", levelFault, "another key", selector + `. IN TXT "v=DKIM1; k=rsa; p=`},
		"a key that is revoked": {key(func(r string) string { return r[:strings.Index(r, "p=")+2] }), "dkim", levelFault, "revoked", `k=rsa; p=`},
		"a key in one string":   {key(func(r string) string { return r[:255] }), "dkim", levelFault, "cut off after 237 of", `k=rsa; p=`},
		"a key with quotes":     {key(func(r string) string { return r[:255] + `" "` + r[255:] }), "dkim", levelFault, "quotation marks", `k=rsa; p=`},
		"two keys":              {more(selector + `. IN TXT "v=DKIM1; p=AAAA"`), "dkim", levelFault, "2 records", `k=rsa; p=`},
		"a key in many strings": {func(t *testing.T, w *world) {
			var parts []string
			for _, c := range rsa(t, w) {
				parts = append(parts, `"`+string(c)+`"`)
			}
			w.replace(t, selector, selector+". IN TXT "+strings.Join(parts, " "))
		}, "dkim", levelOK, "this host's key", ""},
		"a key behind an alias": {func(t *testing.T, w *world) {
			w.publish(t, "k.hoster.test. IN TXT "+strings.Join(txtStrings(rsa(t, w)), " "))
			w.replace(t, selector, selector+". IN CNAME k.hoster.test.")
		}, "dkim", levelOK, "this host's key", ""},

		"no DMARC":               {at("_dmarc.example.test"), "dmarc", levelWarning, "no record", `_dmarc.example.test. IN TXT "v=DMARC1; p=none`},
		"two of DMARC":           {more(`_dmarc.example.test. IN TXT "v=DMARC1; p=reject"`), "dmarc", levelFault, "2 records", `_dmarc.example.test. IN TXT "v=DMARC1; p=none`},
		"a policy of no kind":    {at("_dmarc.example.test", `_dmarc.example.test. IN TXT "v=DMARC1; p=monitor"`), "dmarc", levelFault, "p=monitor is no policy", `"v=DMARC1; p=none`},
		"no semicolon":           {at("_dmarc.example.test", `_dmarc.example.test. IN TXT "v=DMARC1 p=none"`), "dmarc", levelFault, "semicolon", `"v=DMARC1; p=none`},
		"small letters":          {at("_dmarc.example.test", `_dmarc.example.test. IN TXT "v=dmarc1; p=none"`), "dmarc", levelFault, "does not begin with v=DMARC1", `"v=DMARC1; p=none`},
		"in quotes":              {at("_dmarc.example.test", `_dmarc.example.test. IN TXT "\"v=DMARC1; p=none\""`), "dmarc", levelFault, "does not begin with v=DMARC1", `"v=DMARC1; p=none`},
		"reports for a stranger": {at("_dmarc.example.test", `_dmarc.example.test. IN TXT "v=DMARC1; p=none; rua=mailto:a@service.test"`), "dmarc", levelWarning, "nobody sends reports to a@service.test", `example.test._report._dmarc.service.test. IN TXT "v=DMARC1"`},
		"the record of a parent": {at("_dmarc.example.test", `_dmarc.test. IN TXT "v=DMARC1; p=reject"`), "dmarc", levelOK, "the record of test holds here too", ""},

		"no TLSRPT":        {at("_smtp._tls.example.test"), "tlsrpt", levelWarning, "no record", `_smtp._tls.example.test. IN TXT "v=TLSRPTv1; rua=mailto:`},
		"two of TLSRPT":    {more(`_smtp._tls.example.test. IN TXT "v=TLSRPTv1; rua=mailto:a@b.test"`), "tlsrpt", levelFault, "2 records", `"v=TLSRPTv1; rua=mailto:`},
		"TLSRPT to nobody": {at("_smtp._tls.example.test", `_smtp._tls.example.test. IN TXT "v=TLSRPTv1; rua=a@b.test"`), "tlsrpt", levelFault, "names nobody", `"v=TLSRPTv1; rua=mailto:`},

		"no policy file": {func(t *testing.T, w *world) { w.policy(t, "1", ""); w.web = nil }, "mta-sts", levelFault, "connection refused", "https://mta-sts.example.test/"},
		"404":            {func(t *testing.T, w *world) { w.policy(t, "1", ""); w.web = http.NotFound }, "mta-sts", levelFault, "404", "https://mta-sts.example.test/"},
		"a policy's certificate": {func(t *testing.T, w *world) {
			w.policy(t, "1", policyOfSetup)
			w.certs = mtatest.NewCerts(t, "www.example.test")
		}, "mta-sts", levelFault, "not mta-sts.example.test", "https://mta-sts.example.test/"},
		"a policy for another":  {func(t *testing.T, w *world) { w.policy(t, "1", strings.Replace(policyOfSetup, "mail.", "mx.", 1)) }, "mta-sts", levelFault, "allows mx.example.test, and not this host", "mta-sts.txt"},
		"no policy in it":       {func(t *testing.T, w *world) { w.policy(t, "1", "hello") }, "mta-sts", levelFault, "not a valid MTA-STS policy", "mta-sts.txt"},
		"a policy that is over": {func(t *testing.T, w *world) { w.policy(t, "1", strings.Replace(policyOfSetup, "604800", "0", 1)) }, "mta-sts", levelFault, "max_age is 0", "mta-sts.txt"},
		"a policy for an hour":  {func(t *testing.T, w *world) { w.policy(t, "1", strings.Replace(policyOfSetup, "604800", "3600", 1)) }, "mta-sts", levelWarning, "max_age is 1h0m0s", "mta-sts.txt"},
		"a policy of none":      {func(t *testing.T, w *world) { w.policy(t, "1", strings.Replace(policyOfSetup, "testing", "none", 1)) }, "mta-sts", levelWarning, "mode is none", "mta-sts.txt"},
		"an id that has stayed": {func(t *testing.T, w *world) { w.policy(t, stsID(policyOfSetup), policyEnforce) }, "mta-sts", levelWarning, "goes on with the old one", `_mta-sts.example.test. IN TXT "v=STSv1; id=` + stsID(strings.ReplaceAll(policyEnforce, "\r", ""))},
		"two of MTA-STS":        {more(`_mta-sts.example.test. IN TXT "v=STSv1; id=1"`, `_mta-sts.example.test. IN TXT "v=STSv1; id=2"`), "mta-sts", levelFault, "2 records", `_mta-sts.example.test. IN TXT "v=STSv1; id=`},
		"no id":                 {more(`_mta-sts.example.test. IN TXT "v=STSv1"`), "mta-sts", levelFault, "no id", `_mta-sts.example.test. IN TXT "v=STSv1; id=`},
		"nonsense as MTA-STS":   {more(`_mta-sts.example.test. IN TXT "nonsense"`), "mta-sts", levelWarning, "no record", `_mta-sts.example.test. IN TXT "v=STSv1; id=`},
		"a promise it breaks":   {func(t *testing.T, w *world) { w.policy(t, "1", policyEnforce) }, "mta-sts", levelFault, "those who obey the policy send no mail here", "--acme"},
		"a promise to be tried": {func(t *testing.T, w *world) { w.policy(t, "1", policyOfSetup) }, "mta-sts", levelWarning, "with mode enforce", "--acme"},

		"an old certificate": {func(t *testing.T, w *world) {
			w.zone.Sign("_25._tcp.mail.example.test")
			w.replace(t, tlsa, tlsa+". IN TLSA 3 1 1 "+strings.Repeat("00", 32))
		}, "tlsa", levelFault, "matches no TLSA record", "IN TLSA 3 1 1 "},
		"an old one, not signed": {at(tlsa, tlsa+". IN TLSA 3 1 1 "+strings.Repeat("00", 32)), "tlsa", levelWarning, "once the zone is signed", "IN TLSA 3 1 1 "},
		"not signed":             {more(), "tlsa", levelWarning, "not signed (DNSSEC)", "DNSSEC"},
		"a kind nobody uses":     {at(tlsa, tlsa+". IN TLSA 1 1 1 "+strings.Repeat("00", 32)), "tlsa", levelWarning, "none of 1 record is of a kind", "IN TLSA 3 1 1 "},
		"no TLSA, signed":        {func(t *testing.T, w *world) { w.zone.Sign(tlsa); w.replace(t, tlsa) }, "tlsa", levelWarning, "the zone is signed", "IN TLSA 3 1 1 "},

		"port 25 is closed":        {func(_ *testing.T, w *world) { clear(w.greets) }, "port25", levelFault, "connection refused: no mail leaves", "outbound.smart_host"},
		"a greeting of a firewall": {func(_ *testing.T, w *world) { w.greets["192.0.2.25:25"] = "554 no" }, "port25", levelFault, `greets with "554 no"`, "outbound.smart_host"},
		"IPv6 does not lead out":   {more("mx.probe.test. IN AAAA 2001:db8::25"), "port25", levelOK, "answers", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := base.world(t)
			row.break_(t, w)
			code, _, all, text := w.check(t)
			found, faults := false, 0
			for _, f := range all {
				found = found || f.Check == row.check && f.Level == row.level && strings.Contains(f.Text, row.text) && (row.fix != "") == (f.Fix != "") && strings.Contains(f.Fix, row.fix)
				if f.Level == levelFault {
					faults++
				}
			}
			want := 0
			if faults > 0 {
				want = exitFound
			}
			if !found || code != want || row.level == levelFault && code != exitFound {
				t.Errorf("got %d, want a finding of %s, %s with %q and %q below\n%s", code, row.check, row.level, row.text, row.fix, text)
			}
			if !strings.Contains(text, row.level+": "+row.check+": ") {
				t.Errorf("the text has no %s of %s\n%s", row.level, row.check, text)
			}
		})
	}
}

// A name server with a fault is not the zone's fault: nothing is known, and the exit status says to try again.
func TestNameServersWithFaults(t *testing.T) {
	base := newPublishedHome(t)
	dmarc := "_dmarc.example.test"
	for name, row := range map[string]struct {
		break_ func(*testing.T, *world)
		check  string
		level  string
		text   string
		code   int
	}{
		"it fails":    {func(_ *testing.T, w *world) { w.zone.Rcode(dmarc, wire.RcodeServerFailure) }, "dmarc", levelUnknown, "SERVFAIL", exitTemporary},
		"it refuses":  {func(_ *testing.T, w *world) { w.zone.Rcode(dmarc, wire.RcodeRefused) }, "dmarc", levelUnknown, "REFUSED", exitTemporary},
		"it cuts off": {func(_ *testing.T, w *world) { w.zone.Truncate(dmarc) }, "dmarc", levelOK, "v=DMARC1", 0},
		"it fails for the name behind the address": {func(t *testing.T, w *world) {
			w.replace(t, "1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa. IN PTR other.test.")
			w.zone.Rcode("other.test", wire.RcodeServerFailure)
		}, "ptr", levelUnknown, "SERVFAIL", exitTemporary},
		"it fails for who takes the mail": {func(t *testing.T, w *world) {
			w.replace(t, "example.test", "example.test. IN MX 10 other.test.", `example.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"`)
			w.zone.Rcode("other.test", wire.RcodeServerFailure)
		}, "mx", levelUnknown, "SERVFAIL", exitTemporary},
		"it does not answer": {func(_ *testing.T, w *world) {
			w.zone.Silent(dmarc, true)
			w.zone.Notify(func(query string) {
				if strings.HasSuffix(query, " "+dmarc+".") {
					w.stop() // as when the time is over
				}
			})
		}, "dmarc", levelUnknown, "context canceled", exitTemporary},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := base.world(t)
			row.break_(t, w)
			code, _, all, text := w.check(t)
			found := false
			for _, f := range all {
				found = found || f.Check == row.check && f.Level == row.level && strings.Contains(f.Text, row.text)
			}
			if !found || code != row.code {
				t.Errorf("got %d, want %d, %s and %q\n%s", code, row.code, row.level, row.text, text)
			}
		})
	}
}

// Where no name server answers that is said once, instead of a wait for each question.
func TestNoNameServer(t *testing.T) {
	w := newPublishedHome(t).world(t)
	w.zone.Close()
	code, got, all, text := w.check(t)
	if code != exitTemporary || got["resolver"] != levelUnknown || got["address"] != "" || got["mx"] != "" || !strings.Contains(text, "    name servers that answer") {
		t.Errorf("got %d, want %d and one finding\n%+v", code, exitTemporary, all)
	}
}

func TestJSONIsOfDNSAlone(t *testing.T) {
	var out, errOut strings.Builder
	if code := execute(t.Context(), []string{"check", "--json"}, nil, &out, &errOut); code != exitUsage {
		t.Errorf("got %d, want %d\n%s", code, exitUsage, &errOut)
	}
}
