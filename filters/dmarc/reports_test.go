package dmarc_test

import (
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dmarc"
	report "github.com/posthouse-mail/posthouse/mta/dmarc"
)

// submit is the socket of an smtpd that takes one message; it gives what was said.
func submit(t *testing.T, path string) <-chan string {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	said := make(chan string, 1)
	go func() {
		defer close(said)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c := textproto.NewConn(nc)
		_ = c.PrintfLine("220 here")
		var all strings.Builder
		for {
			line, err := c.ReadLine()
			if err != nil {
				break
			}
			fmt.Fprintln(&all, line)
			switch word, _, _ := strings.Cut(line, " "); word {
			case "EHLO":
				_ = c.PrintfLine("250-here\r\n250-8BITMIME\r\n250 SMTPUTF8")
			case "DATA":
				_ = c.PrintfLine("354 go on")
				text, _ := c.ReadDotBytes()
				all.Write(text)
				_ = c.PrintfLine("250 taken")
			case "QUIT":
				_ = c.PrintfLine("221 bye")
			default:
				_ = c.PrintfLine("250 ok")
			}
		}
		said <- all.String()
	}()
	return said
}

func TestWhatWasFoundIsReported(t *testing.T) {
	state := t.TempDir()
	site := &filters.Site{Hostname: "mx.here.test", StateDirectory: state, SubmitSocket: filepath.Join(state, "s")}
	said := submit(t, site.SubmitSocket)
	old := time.Now().UTC().AddDate(0, 0, -1).Truncate(24 * time.Hour)
	c := report.NewCollector(state, func() time.Time { return old })
	if err := c.Add(report.Row{Domain: "bank.test", RUA: []string{"r@bank.test"}, Source: "192.0.2.9", Disposition: "none", HeaderFrom: "bank.test"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	f := &dmarc.Filter{Version: "1", Resolver: world}
	if err := f.Configure(site, filters.NewSettings("[settings]\nreport_from = \"dmarc@here.test\"\ntrust = [\"198.51.100.0/24\"]")); err != nil {
		t.Fatal(err)
	}
	f.Now = func() time.Time { return old.Add(36 * time.Hour) }
	if err := f.Activate(t.Context()); err != nil {
		t.Fatal(err)
	}
	judge(t, f, "From: a@asks.test\r\n", spfNote("pass", "x@mail.asks.test"), dkimNote("none", ""))
	judge(t, f, "From: a@asks.test\r\n", spfNote("fail", "x@evil.test"), filters.Note{Method: "dkim", Result: "fail", Properties: []filters.Property{{Type: "header", Name: "d", Value: "evil.test"}, {Type: "header", Name: "s", Value: "sel"}}})
	judge(t, f, "From: a@trialasks.test\r\n", spfNote("fail", "x@evil.test"), dkimNote("none", ""))
	judge(t, f, "From: a@bank.test\r\n", spfNote("fail", "x@evil.test"), dkimNote("none", ""))               // asks for no reports
	judge(t, f, "From: a@asks.test\r\n", spfNote("none", "x@evil.test"), dkimNote("temperror", "asks.test")) // nothing was found
	f.Tick(t.Context())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := report.Load(state, old.Add(36*time.Hour).Format(time.DateOnly))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range append(all["asks.test"].Rows, all["trialasks.test"].Rows...) {
		got = append(got, fmt.Sprintf("%s %s %s %v %v %s %s %d", r.Source, r.HeaderFrom, r.Disposition, r.DKIM, r.SPF, r.Reason, r.EnvelopeFrom, r.Count))
	}
	want := map[string]bool{
		"192.0.2.1 asks.test pass false true  mail.asks.test 1":                        true,
		"192.0.2.1 asks.test quarantine false false local_policy evil.test 1":          true,
		"192.0.2.1 trialasks.test quarantine false false policy_test_mode evil.test 1": true,
	}
	if len(got) != len(want) || len(all) != 2 {
		t.Errorf("got %q of %d domains", got, len(all))
	}
	for _, g := range got {
		if !want[g] {
			t.Errorf("got %q, want one of %v", g, want)
		}
	}
	text := <-said
	for _, part := range []string{"EHLO mx.here.test", "MAIL FROM:<>\n", "RCPT TO:<r@bank.test>", "From: DMARC reports of mx.here.test <dmarc@here.test>", "Subject: Report Domain: bank.test"} {
		if !strings.Contains(text, part) {
			t.Errorf("smtpd heard\n%s\nwant %s", text, part)
		}
	}
	if _, err := os.Stat(filepath.Join(state, old.Format(time.DateOnly)+".sent")); err != nil {
		t.Error(err)
	}
}
