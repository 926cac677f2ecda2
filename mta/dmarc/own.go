package dmarc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// knownTags are those of RFC 9989 4.7, and those of RFC 7489 that it leaves out and that harm nobody.
var knownTags = []string{"v", "p", "sp", "np", "adkim", "aspf", "t", "psd", "fo", "rua", "ruf", "pct", "rf", "ri"}

// Lint reads a record for the one who publishes it. The error tells what makes receivers read it otherwise than it looks, or as none.
func Lint(text string) (Record, error) {
	r, ok := parseRecord(text)
	if !ok {
		return r, errors.New("it does not begin with v=DMARC1 and a semicolon")
	}
	p := false
	for tag := range strings.SplitSeq(text, ";") {
		name, value, found := strings.Cut(tag, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case name == "" && !found:
		case !found:
			return r, fmt.Errorf("%.80q is no tag with a value", strings.TrimSpace(tag))
		case !slices.Contains(knownTags, name):
			return r, fmt.Errorf("%.80q is no tag of DMARC", name)
		case strings.Contains(value, "=") && name != "rua" && name != "ruf":
			return r, fmt.Errorf("a semicolon is missing in %.80q", strings.TrimSpace(tag))
		case (name == "p" || name == "sp" || name == "np") && !slices.Contains([]Policy{None, Quarantine, Reject}, Policy(strings.ToLower(value))):
			return r, fmt.Errorf("%s=%.80s is no policy: none, quarantine or reject", name, value)
		case name == "rua" && len(r.RUA) == 0:
			return r, fmt.Errorf("rua=%.80s is no address for reports: as in mailto:postmaster@example.org", value)
		}
		p = p || name == "p"
	}
	if !p {
		return r, errors.New("it has no p=: many receivers take it for none")
	}
	return r, nil
}

// Unwanted are the addresses of a record that no reporter sends to: they are elsewhere, and the domain there has not said that it
// wants reports of this one (RFC 9990 4).
func Unwanted(ctx context.Context, r Resolver, domain string, rec Record) ([]string, error) {
	var list []string
	for _, a := range rec.RUA {
		to, err := (&Sender{Resolver: r}).allowed(ctx, domain, a)
		if err != nil {
			return nil, err
		}
		if to == "" {
			list = append(list, a)
		}
	}
	return list, nil
}
