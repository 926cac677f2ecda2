package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// publishedHome is an instance that posthouse setup has made, and DNS as it told.
func publishedHome(t *testing.T) (path string, zone *mtatest.Zone) {
	t.Helper()
	dir, path := home(t)
	for _, d := range []string{"spool", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	code, records, said := runSetup(t, "", "example.test", "-c", path, "--non-interactive", "--user", "alice", "--no-password", "--address", "192.0.2.1")
	if code != 0 {
		t.Fatalf("got %d\n%s", code, said)
	}
	zone = mtatest.NewZone(t, "1.2.0.192.in-addr.arpa. IN PTR mail.example.test.")
	for line := range strings.Lines(strings.ReplaceAll(records, "; _25.", "_25.")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != ';' {
			if err := zone.Add(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, fmt.Sprintf("\n[outbound]\nresolver = [%q]\n", zone.Addr())...)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path, zone
}

// levels returns the worst level of each check, and all findings.
func levels(t *testing.T, path string) (code int, worst map[string]string, all []finding) {
	t.Helper()
	var out, errOut strings.Builder
	code = execute(t.Context(), []string{"check", "-c", path, "--dns", "--json", "--probe", ""}, nil, &out, &errOut)
	if err := json.Unmarshal([]byte(out.String()), &all); err != nil {
		t.Fatalf("%v in %s\n%s", err, &out, &errOut)
	}
	worst = map[string]string{}
	for _, f := range all {
		if worst[f.Check] == "" || f.Level == levelFault || f.Level == levelWarning && worst[f.Check] == levelOK {
			worst[f.Check] = f.Level
		}
	}
	return code, worst, all
}

func TestWhatSetupTellsToPublishIsWhatIsChecked(t *testing.T) {
	path, _ := publishedHome(t)
	code, got, all := levels(t, path)
	for _, check := range []string{"address", "ptr", "mx", "spf", "dkim", "dmarc", "tlsrpt", "tlsa"} {
		if got[check] != levelOK {
			t.Errorf("%s: got %q, want ok", check, got[check])
		}
	}
	if code != 0 || got["mta-sts"] != levelWarning {
		t.Errorf("got %d, MTA-STS %q, want 0 and a warning of the record that waits for its policy\n%+v", code, got["mta-sts"], all)
	}
}

func TestWhatIsPublishedAndWrong(t *testing.T) {
	for name, row := range map[string]struct {
		remove string
		add    []string
		check  string
		fix    string
	}{
		"no MX":                {remove: "example.test", check: "mx", fix: "example.test. IN MX 10 mail.example.test."},
		"another host's MX":    {remove: "example.test", add: []string{"example.test. IN MX 10 mx.other.test."}, check: "mx", fix: "example.test. IN MX 10 mail.example.test."},
		"no SPF":               {remove: "example.test", add: []string{"example.test. IN MX 10 mail.example.test."}, check: "spf", fix: `example.test. IN TXT "v=spf1 mx -all"`},
		"an SPF of others":     {remove: "example.test", add: []string{`example.test. IN TXT "v=spf1 ip4:198.51.100.0/24 -all"`}, check: "spf", fix: "v=spf1"},
		"two of SPF":           {add: []string{`example.test. IN TXT "v=spf1 +all"`}, check: "spf", fix: "v=spf1"},
		"no address":           {remove: "mail.example.test", check: "address", fix: "mail.example.test. IN A "},
		"no name":              {remove: "1.2.0.192.in-addr.arpa", check: "ptr", fix: "(PTR)"},
		"a provider's name":    {remove: "1.2.0.192.in-addr.arpa", add: []string{"1.2.0.192.in-addr.arpa. IN PTR vps1.hoster.test."}, check: "ptr", fix: "(PTR)"},
		"two of DMARC":         {add: []string{`_dmarc.example.test. IN TXT "v=DMARC1; p=reject"`}, check: "dmarc", fix: "_dmarc.example.test. IN TXT"},
		"an old key":           {remove: fmt.Sprintf("ed%d._domainkey.example.test", year()), check: "dkim", fix: "k=ed25519; p="},
		"an old certificate":   {remove: "_25._tcp.mail.example.test", add: []string{"_25._tcp.mail.example.test. IN TLSA 3 1 1 " + strings.Repeat("00", 32)}, check: "tlsa", fix: "IN TLSA 3 1 1 "},
		"no record of MTA-STS": {add: []string{`_mta-sts.example.test. IN TXT "nonsense"`}, check: "mta-sts", fix: "mta-sts.txt"},
	} {
		path, zone := publishedHome(t)
		if row.remove != "" {
			zone.Remove(row.remove)
		}
		for _, r := range row.add {
			if err := zone.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		code, _, all := levels(t, path)
		found := false
		for _, f := range all {
			found = found || f.Check == row.check && f.Level == levelFault && strings.Contains(f.Fix, row.fix)
		}
		if code != exitFound || !found {
			t.Errorf("%s: got %d, want %d and a fault of %s with %q\n%+v", name, code, exitFound, row.check, row.fix, all)
		}
	}
}

func TestSPFOfAnAddress(t *testing.T) {
	zone := mtatest.NewZone(t, "a.test. IN A 192.0.2.1", "a.test. IN AAAA 2001:db8::1", "mx.test. IN MX 10 a.test.",
		`inc.test. IN TXT "v=spf1 ip4:192.0.2.0/24 -all"`, `loop.test. IN TXT "v=spf1 include:loop.test -all"`)
	for record, want := range map[string]string{
		"v=spf1 include:loop.test -all": "error", "v=spf1 exists:%{i}.x.test -all": "undecided", "v=spf1 ptr -all": "undecided", // the hostile first
		"v=spf1 ip4:192.0.2.0/99 -all": "error", "v=spf1 a:a.test/x -all": "error",
		"v=spf1": "no", "v=spf1 -all": "no", "v=spf1 ?all": "no", "v=spf1 ~ip4:192.0.2.1 +all": "no",
		"v=spf1 +all": "yes", "v=spf1 A:a.test -all": "yes", "v=spf1 mx:mx.test -all": "yes", "v=spf1 ip4:192.0.2.1 -all": "yes",
		"v=spf1 ip4:192.0.2.0/24 -all": "yes", "v=spf1 include:inc.test -all": "yes", "v=spf1 redirect=inc.test": "yes", "v=spf1 a:a.test/24//64 -all": "yes",
		"v=spf1 exp=why.test mx:mx.test -all": "yes", "v=spf1 a:none.test mx:none.test -all": "no", "v=spf1 ip6:2001:db8::1 -all": "no",
	} {
		zone.Remove("it.test")
		if err := zone.Add(fmt.Sprintf("it.test. IN TXT %q", record)); err != nil {
			t.Fatal(err)
		}
		r, err := dns.New(dns.Options{Servers: []string{zone.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		e := spfEvaluation{r: r, addr: netip.MustParseAddr("192.0.2.1"), left: maxSPF}
		got := "no"
		switch passes, err := e.passes(t.Context(), "it.test"); {
		case err != nil && strings.Contains(err.Error(), errUndecided.Error()):
			got = "undecided"
		case err != nil:
			got = "error"
		case passes:
			got = "yes"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", record, got, want)
		}
	}
}

func TestJSONIsOfDNSAlone(t *testing.T) {
	var out, errOut strings.Builder
	if code := execute(t.Context(), []string{"check", "--json"}, nil, &out, &errOut); code != exitUsage {
		t.Errorf("got %d, want %d\n%s", code, exitUsage, &errOut)
	}
}
