package dmarc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// settings are [settings] of dmarc.toml.
type settings struct {
	OnReject     string             `toml:"on_reject"`     // of those below
	OnQuarantine string             `toml:"on_quarantine"` // none or quarantine
	OnBadAuthor  string             `toml:"on_bad_author"`
	OnTempError  string             `toml:"on_temperror"` // none or tempfail
	Trust        []string           `toml:"trust"`        // networks
	TrustARC     []string           `toml:"trust_arc"`    // domains that seal
	Score        map[string]float64 `toml:"score"`        // by result
	ReportFrom   string             `toml:"report_from"`  // "" = no reports are sent

	trust []netip.Prefix
}

// What is done with a message.
const (
	doNone       = "none"
	doQuarantine = "quarantine"
	doReject     = "reject"
	doTempFail   = "tempfail"
)

var results = []string{"none", "pass", "fail", "temperror", "permerror"}

func read(s filters.Settings) (settings, error) {
	set := settings{OnReject: doQuarantine, OnQuarantine: doQuarantine, OnBadAuthor: doNone, OnTempError: doNone}
	if err := s.Decode(&set); err != nil {
		return set, err
	}
	for _, k := range []struct {
		key, value string
		allowed    []string
	}{
		{"on_reject", set.OnReject, []string{doReject, doQuarantine, doNone}},
		{"on_quarantine", set.OnQuarantine, []string{doQuarantine, doNone}},
		{"on_bad_author", set.OnBadAuthor, []string{doReject, doQuarantine, doNone}},
		{"on_temperror", set.OnTempError, []string{doTempFail, doNone}},
	} {
		if !slices.Contains(k.allowed, k.value) {
			return set, s.Fault(k.key, fmt.Sprintf("%s = %q; allowed: %s", k.key, k.value, strings.Join(k.allowed, ", ")))
		}
	}
	for _, n := range set.Trust {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return set, s.Fault("trust", fmt.Sprintf("trust: %q is no network; allowed: as in \"192.0.2.0/24\"", n))
		}
		set.trust = append(set.trust, p)
	}
	for i, d := range set.TrustARC {
		a, err := dns.ASCII(d)
		if err != nil {
			return set, s.Fault("trust_arc", fmt.Sprintf("trust_arc: %q is no domain", d))
		}
		set.TrustARC[i] = a
	}
	for r := range set.Score {
		if !slices.Contains(results, r) {
			return set, s.Fault("score", fmt.Sprintf("score: %q is not among the results: %s", r, strings.Join(results, ", ")))
		}
	}
	if set.ReportFrom != "" {
		if a, err := mta.ParseAddress(set.ReportFrom); err != nil || !a.IsASCII() {
			return set, s.Fault("report_from", fmt.Sprintf("report_from = %q; allowed: an address, as in \"dmarc-reports@example.org\"", set.ReportFrom))
		}
	}
	return set, nil
}

// exempt says why a message that fails goes on all the same, in the words of RFC 9990 3.1.6; "" = it does not.
func (s *settings) exempt(e *filters.Event) (reason, comment string) {
	ip := e.Client.Addr().Unmap()
	if ip.IsValid() && slices.ContainsFunc(s.trust, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return "trusted_forwarder", ""
	}
	if s.vouched(e) {
		return "local_policy", "arc=pass"
	}
	return "", ""
}

// vouched says that the hosts that had the message last are trusted, and that the first of them has seen it pass (RFC 8617 7.2).
func (s *settings) vouched(e *filters.Event) bool {
	arc := e.Find("arc")
	if len(s.TrustARC) == 0 || len(arc) != 1 || arc[0].Result != "pass" {
		return false
	}
	seen := ""
	for _, set := range slices.Backward(e.Find("arc-set")) {
		if !slices.Contains(s.TrustARC, set.Get("header", "d")) {
			break
		}
		seen = set.Get("policy", "dmarc")
	}
	return seen == "pass"
}
