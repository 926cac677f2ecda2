package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// nameServer answers TXT from a map that the test fills, on a port of its own.
func nameServer(t *testing.T, zone map[string][]string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	srv := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		texts, ok := zone[strings.TrimSuffix(q.Question[0].Name, ".")]
		if !ok {
			m.Rcode = dns.RcodeNameError
		} else {
			m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: texts}}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = srv.Shutdown() })
	return pc.LocalAddr().String()
}

func TestKeysAreMadeAndComparedWithDNS(t *testing.T) {
	dir := t.TempDir()
	zone := map[string][]string{}
	conf := filepath.Join(dir, "posthouse.toml")
	write := func(selectors string) {
		t.Helper()
		text := fmt.Sprintf("hostname = \"mx.here.test\"\nstate = %q\n[outbound]\nresolver = [%q]\n[domains.\"here.test\"]\ndkim = [%s]\n", filepath.Join(dir, "state"), nameServer(t, maps.Clone(zone)), selectors)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := execute(t.Context(), append(args, "-c", conf), strings.NewReader(""), &out, &out); got != want {
			t.Fatalf("%v: got exit code %d, want %d: %s", args, got, want, out.String())
		}
		return out.String()
	}
	write("")
	if out := run(0, "dkim", "check"); !strings.Contains(out, "no domain has keys") {
		t.Errorf("without keys: got %q", out)
	}
	for _, args := range [][]string{{"--selector", "a"}, {"--selector", "b", "--ed25519"}} {
		out := run(0, append([]string{"dkim", "keygen", "here.test"}, args...)...)
		m := regexp.MustCompile(`(?m)^(\S+)\. IN TXT (.*)$`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no record in %q", out)
		}
		for _, s := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			if len(s[1]) > 255 {
				t.Errorf("a string of %d octets", len(s[1]))
			}
			zone[m[1]] = append(zone[m[1]], s[1])
		}
		file := filepath.Join(dir, "state", "keys", "here.test."+args[1]+".pem")
		if st, err := os.Stat(file); err != nil || st.Mode().Perm()&0o027 != 0 {
			t.Errorf("got %v, %v; want a file that others cannot read", st, err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "state", "keys", "here.test.a.pem"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := execute(t.Context(), []string{"dkim", "keygen", "here.test", "--selector", "a", "-c", conf}, strings.NewReader(""), &out, &out); code == 0 {
		t.Error("a key was made where there was one")
	}
	if after, err := os.ReadFile(filepath.Join(dir, "state", "keys", "here.test.a.pem")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key that was there is another now: %v", err)
	}
	run(64, "dkim", "keygen", "../x")
	run(64, "dkim", "keygen", "here.test", "--selector", "../x")

	write(`"a", "b"`)
	if out := run(0, "dkim", "check"); out != "OK: a._domainkey.here.test\nOK: b._domainkey.here.test\n" {
		t.Errorf("got %q", out)
	}
	zone["a._domainkey.here.test"] = zone["b._domainkey.here.test"]
	delete(zone, "b._domainkey.here.test")
	write(`"a", "b", "c"`)
	got := run(1, "dkim", "check")
	for _, want := range []string{"a._domainkey.here.test: k=ed25519", "b._domainkey.here.test: DNS has no record of it\n    b._domainkey.here.test. IN TXT \"v=DKIM1; k=ed25519; p=", "c._domainkey.here.test: open ", "3 keys of 3"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func TestTheListOfFiltersIsATable(t *testing.T) {
	const state = `{"filters":[{"name":"spf","state":"running","version":"1.0","pid":12,"restarts":2,"verdicts":{"continue":5,"reject":1},
		"stages":{"sender":{"calls":6,"failures":0}},"p50":1500000,"p99":22000000},{"name":"odd","state":"down","error":"no such file","restarts":9,"stages":{"message":{"calls":0,"failures":3}},"p50":0,"p99":0}]}`
	var out bytes.Buffer
	if err := showFilters([]byte(state), &out); err != nil {
		t.Fatal(err)
	}
	const want = `NAME  STATE    VERSION  RESTARTS  CALLS  FAILED  P50    P99   VERDICTS
spf   running  1.0      2         6      0       1.5ms  22ms  continue=5 reject=1
odd   down     -        9         0      3       0s     0s    -
odd: no such file
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	if err := showFilters([]byte(`{"filters":null}`), &out); err != nil || !strings.HasPrefix(out.String(), "no filter is enabled") {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if err := showFilters([]byte(`{`), &out); err == nil {
		t.Error("want an error of a broken answer")
	}
}
