package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// signing makes a signer with an RSA and an Ed25519 key for example.net, and their records.
func signing(t *testing.T) (*signer, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	records := map[string]string{}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, sel := range []string{"ed", "rsa"} {
		k, text, err := sign.Generate(sel == "ed")
		if err != nil {
			t.Fatal(err)
		}
		mtatest.Write(t, filepath.Join(dir, "keys", "example.net."+sel+".pem"), string(text))
		key := sign.Key{Domain: "example.net", Selector: sel, Signer: k}
		if records[key.Name()], err = key.Record(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := newSigner(&config.Config{Hostname: "mx.example.net", State: dir, Domains: map[string]*config.Domain{"example.net": {DKIM: []string{"ed", "rsa"}}, "other.test": {}}})
	if err != nil {
		t.Fatal(err)
	}
	return s, records
}

func TestReportsAreSigned(t *testing.T) {
	s, records := signing(t)
	const report = "From: MAILER-DAEMON@mx.example.net\r\nSubject: x\r\n\r\nbody\r\n"
	fields, err := s.Report([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	found, err := dkim.VerifyWithOptions(strings.NewReader(fields+report), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return []string{records[name]}, nil }})
	if err != nil || len(found) != 2 || found[0].Err != nil || found[1].Err != nil || found[0].Domain != "example.net" {
		t.Errorf("got %+v, %v of %s", found, err, fields)
	}
	s.hostname = "mx.other.test"
	if fields, err := s.Report([]byte(report)); fields != "" || err != nil {
		t.Errorf("without a key: got %q, %v", fields, err)
	}
}

const incoming = "Authentication-Results: mx.example.net;\r\n\tspf=pass smtp.mailfrom=a@far.test;\r\n\tdmarc=pass header.from=far.test\r\nFrom: a@far.test\r\nSubject: x\r\n\r\nbody\r\n"

func TestWhatGoesOnIsSealedWhereArcHasLooked(t *testing.T) {
	s, records := signing(t)
	notes := func(result string) json.RawMessage {
		return json.RawMessage(`{"results":[{"filter":"spf","method":"spf","result":"pass"},{"filter":"arc","method":"arc","result":"` + result + `"}]}`)
	}
	broken := "ARC-Seal: i=1; cv=none\r\n" + incoming
	for _, c := range []struct {
		name, role, alias, message string
		notes                      json.RawMessage
		sealed                     bool
	}{
		{"from another host", mta.RoleMX, "list@example.net", incoming, notes("none"), true},
		{"an alias in a domain below", mta.RoleMX, "list@sub.example.net", incoming, notes("none"), true},
		{"of our own", mta.RoleSubmission, "list@example.net", incoming, notes("none"), false},
		{"an alias whose domain has no key", mta.RoleMX, "list@other.test", incoming, notes("none"), false},
		{"arc is not enabled", mta.RoleMX, "list@example.net", incoming, json.RawMessage(`{"results":[{"method":"spf","result":"pass"}]}`), false},
		{"no filters", mta.RoleMX, "list@example.net", incoming, nil, false},
		{"notes that are none", mta.RoleMX, "list@example.net", incoming, json.RawMessage(`[`), false},
		{"a chain that has failed", mta.RoleMX, "list@example.net", broken, notes("fail"), false},
		{"a chain that was not seen", mta.RoleMX, "list@example.net", broken, notes("none"), false},
		{"results of somebody else", mta.RoleMX, "list@example.net", strings.Replace(incoming, "mx.example.net;", "mx.evil.test;", 1), notes("none"), false},
		{"no results", mta.RoleMX, "list@example.net", "From: a@far.test\r\n\r\nbody\r\n", notes("none"), false},
		{"a header without end", mta.RoleMX, "list@example.net", strings.Repeat("X: y\r\n", 1<<20), notes("none"), false},
		{"nothing", mta.RoleMX, "list@example.net", "", notes("none"), false},
	} {
		alias, err := mta.ParseAddress(c.alias)
		if err != nil {
			t.Fatal(err)
		}
		set, err := s.Forward(alias, &mta.Envelope{Role: c.role, Notes: c.notes}, strings.NewReader(c.message))
		if err != nil || (set != "") != c.sealed {
			t.Errorf("%s: got %q, %v; want it sealed: %v", c.name, set, err, c.sealed)
			continue
		}
		if !c.sealed {
			continue
		}
		header, body, err := sign.Head(strings.NewReader(set + c.message))
		if err != nil {
			t.Fatal(err)
		}
		txt := func(_ context.Context, name string) ([]string, error) {
			if r, ok := records[name]; ok {
				return []string{r}, nil
			}
			return nil, errors.New("no " + name)
		}
		chain := sign.ReadChain(header)
		if err := chain.Validate(t.Context(), txt, header, body); err != nil || chain.Sets[0].Domain != "example.net" || !strings.Contains(chain.Sets[0].Results, "dmarc=pass") || !strings.Contains(set, "rsa-sha256") {
			t.Errorf("%s: got %+v, %v", c.name, chain, err)
		}
	}
}
