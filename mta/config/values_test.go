package config

import (
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestSizes(t *testing.T) {
	for _, s := range []string{"", "-1", "+1", "1.5MB", "MB", "1 MB", "1mb", "1TB", "0x10", "1_000", "9223372036854775808", "9007199254740993KB"} {
		var got Size
		if err := got.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
	for s, want := range map[string]Size{"0": 0, "1000": 1000, "64KB": 65536, "50MB": 52428800, "2GB": 2 * GB} {
		var got Size
		if err := got.UnmarshalText([]byte(s)); err != nil || got != want || got.String() != s {
			t.Errorf("%q: got %d (%s), %v; want %d", s, got, got, err, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, s := range []string{"", "5", "-5m", "5 m", "1.5h", "1h30m", "5M", "106752d"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
	for s, want := range map[string]time.Duration{"0": 0, "500ms": 500 * time.Millisecond, "30s": 30 * time.Second, "5m": 5 * time.Minute, "4h": 4 * time.Hour, "5d": 120 * time.Hour} {
		if got, err := ParseDuration(s); err != nil || got != want || FormatDuration(got) != s {
			t.Errorf("%q: got %v (%s), %v; want %v", s, got, FormatDuration(got), err, want)
		}
	}
}

func TestRates(t *testing.T) {
	for _, s := range []string{"100", "/h", "0/h", "-1/h", "1/w", "1/h/h", "9999999999/h"} {
		var got Rate
		if err := got.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
	for s, want := range map[string]Rate{"": {}, "100/h": {100, time.Hour}, "1/s": {1, time.Second}, "7/d": {7, 24 * time.Hour}} {
		got := Rate{5, time.Minute}
		if err := got.UnmarshalText([]byte(s)); err != nil || got != want || got.String() != s {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, s := range []string{"smtp", "smtp:", "smtp:h:0", "smtp:h:65536", "smtp:h:", "smtp:[::1", "smtp:[::1]x", "smtp:::1", "smtp:a b", "smtp:-h", "SMTP:h", "ftp:h", "lmtp:h",
		"lmtp:unix:rel", "lmtp:unix:", "program:", "discard:", "error:", "error:5.1.2", "error:5.1 x", "error:5.1.1000 x", "error:3.0.0 x", "error:5.1.2 \x7f"} {
		var got Target
		if err := got.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q: got %+v, want an error", s, got)
		}
	}
	for s, want := range map[string]Target{
		"":                        {},
		"smtp:h.example:25":       {Kind: ToSMTP, Host: "h.example", Port: 25},
		"smtps:192.0.2.1:465":     {Kind: ToSMTPS, Host: "192.0.2.1", Port: 465},
		"smtp:[2001:db8::1]:2525": {Kind: ToSMTP, Host: "2001:db8::1", Port: 2525},
		"lmtp:127.0.0.1:24":       {Kind: ToLMTP, Host: "127.0.0.1", Port: 24},
		"lmtp:unix:/run/lmtp":     {Kind: ToLMTP, Path: "/run/lmtp"},
		"program:lists":           {Kind: ToProgram, Name: "lists"},
		"discard":                 {Kind: ToDiscard},
		"error:5.1.2 no such":     {Kind: ToError, Reply: mta.Reply{Code: 550, Enhanced: "5.1.2", Text: "no such"}},
		"error:4.3.0 later":       {Kind: ToError, Reply: mta.Reply{Code: 450, Enhanced: "4.3.0", Text: "later"}},
	} {
		var got Target
		if err := got.UnmarshalText([]byte(s)); err != nil || got != want || got.String() != s {
			t.Errorf("%q: got %+v (%s), %v; want %+v", s, got, got, err, want)
		}
	}
}

func TestRoutesMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, domain string
		want            bool
	}{
		{".example.org", "example.org", false},
		{".example.org", "badexample.org", false},
		{".example.org", ".example.org", false},
		{"example.org", "a.example.org", false},
		{"example.org", "Example.ORG", true},
		{".example.org", "a.b.example.org", true},
		{"xn--bcher-kva.example", "Bücher.example", true},
		{"*", "anything.example", true},
	} {
		if got := (Route{Domain: c.pattern}).Matches(c.domain); got != c.want {
			t.Errorf("%s and %s: got %v, want %v", c.pattern, c.domain, got, c.want)
		}
	}
}
