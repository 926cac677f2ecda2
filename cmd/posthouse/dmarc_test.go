package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/dmarc"
)

func TestReportsOfDMARCAreShown(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "filters", "dmarc")
	conf := filepath.Join(dir, "posthouse.toml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "hostname = \"mx.here.test\"\nstate = %q\n[domains.\"here.test\"]\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := execute(t.Context(), append([]string{"dmarc", "report", "-c", conf}, args...), strings.NewReader(""), &out, &out); got != want {
			t.Fatalf("%v: got exit code %d, want %d: %s", args, got, want, out.String())
		}
		return out.String()
	}
	if got := run(69); !strings.Contains(got, "nothing is known") {
		t.Errorf("without anything: got %s", got)
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	c := dmarc.NewCollector(state, func() time.Time { return at })
	for _, domain := range []string{"a.test", "b.test", "b.test"} {
		r := dmarc.Row{Domain: domain, Published: dmarc.Record{P: dmarc.Reject, FO: "0"}.Published(), RUA: []string{"r@" + domain}, Source: "192.0.2.1",
			Disposition: "quarantine", Reason: "local_policy", HeaderFrom: domain, EnvelopeFrom: "x\x1b[2J.test"}
		if err := c.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "2026-11-27.sent"), []byte("a.test r@a.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(0)
	for _, want := range []string{"Friday, 27 November 2026", "a.test: p=reject, sent to r@a.test", "b.test: p=reject, not sent yet, for r@b.test", "192.0.2.1  2      quarantine (local_policy)", "x?[2J.test"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q", got, want)
		}
	}
	if got := run(0, "B.test", "--day", "2026-11-27"); strings.Contains(got, "a.test:") || !strings.Contains(got, "b.test:") {
		t.Errorf("one domain: got\n%s", got)
	}
	if got := run(0, "b.test", "--xml"); !strings.Contains(got, "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">") || !strings.Contains(got, "<count>2</count>") {
		t.Errorf("as XML: got\n%s", got)
	}
	run(64, "--xml")
	if got := run(69, "c.test"); !strings.Contains(got, "a.test, b.test") {
		t.Errorf("an unknown domain: got %s", got)
	}
	if got := run(69, "--day", "2026-11-01"); !strings.Contains(got, "2026-11-27") {
		t.Errorf("an unknown day: got %s", got)
	}
}
