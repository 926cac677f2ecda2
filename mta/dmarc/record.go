package dmarc

import (
	"net/url"
	"slices"
	"strings"
)

// Policy is what a domain asks for.
type Policy string

// Policies (RFC 9989 4.7).
const (
	None       Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// Bounds of what a record can make us do.
const (
	maxRecord = 4096 // octets of a record that are read
	maxRUA    = 5    // addresses for reports
)

// Record is what a domain has published (RFC 9989 4.7), with the defaults of what it has not.
type Record struct {
	P          Policy // None where the record has no p
	SP         Policy // "" = as P
	NP         Policy // "" = as SP
	StrictDKIM bool
	StrictSPF  bool
	Testing    bool
	PSD        byte     // 'y', 'n' or 'u'
	FO         string   // "0" where the record has none
	RUA        []string // addresses of its mailto: URIs

	broken bool // p, sp or np is none of the policies
}

// parseRecord reads a text; ok is false where it is no record of DMARC. Tags that it does not know are passed over, and of
// two with one name the first counts.
func parseRecord(text string) (r Record, ok bool) {
	r = Record{P: None, PSD: 'u', FO: "0"}
	seen := map[string]bool{}
	for i, tag := range strings.Split(text[:min(len(text), maxRecord)], ";") {
		name, value, found := strings.Cut(tag, "=")
		name, value = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
		if i == 0 {
			if !found || name != "v" || value != "DMARC1" {
				return Record{}, false
			}
			continue
		}
		if found && !seen[name] {
			seen[name] = true
			r.take(name, value)
		}
	}
	return r, true
}

func (r *Record) take(name, value string) {
	lower := strings.ToLower(value)
	switch name {
	case "p":
		r.P = r.policy(lower)
	case "sp":
		r.SP = r.policy(lower)
	case "np":
		r.NP = r.policy(lower)
	case "adkim":
		r.StrictDKIM = lower == "s"
	case "aspf":
		r.StrictSPF = lower == "s"
	case "t":
		r.Testing = lower == "y"
	case "psd":
		if lower == "y" || lower == "n" {
			r.PSD = lower[0]
		}
	case "fo":
		if fo := strings.Split(lower, ":"); len(fo) <= 4 && !slices.ContainsFunc(fo, func(s string) bool { return len(s) != 1 || !strings.Contains("01ds", s) }) {
			r.FO = lower
		}
	case "rua":
		r.RUA = addresses(value)
	}
}

func (r *Record) policy(value string) Policy {
	switch p := Policy(value); p {
	case None, Quarantine, Reject:
		return p
	}
	r.broken = true
	return None
}

// addresses are those of the mailto: URIs in a list; a size behind an exclamation mark, which RFC 7489 knew, is ignored.
func addresses(list string) []string {
	var out []string
	for uri := range strings.SplitSeq(list, ",") {
		uri, _, _ = strings.Cut(strings.Trim(uri, " \t"), "!")
		u, err := url.Parse(uri)
		if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
			continue
		}
		address, err := url.PathUnescape(u.Opaque)
		at := strings.LastIndexByte(address, '@')
		if err != nil || at < 1 || at == len(address)-1 || strings.ContainsFunc(address, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' }) {
			continue
		}
		if out = append(out, address); len(out) == maxRUA {
			break
		}
	}
	return out
}

// usable is the record as a receiver has to read it: where a policy in it is broken it asks for reports alone, or for nothing
// (RFC 9989 4.10.1).
func (r Record) usable() (Record, bool) {
	if !r.broken {
		return r, true
	}
	r.P, r.SP, r.NP = None, "", ""
	return r, len(r.RUA) > 0
}

// forSubdomain is the policy for a name below the one that has the record.
func (r Record) forSubdomain(exists bool) Policy {
	switch {
	case !exists && r.NP != "":
		return r.NP
	case r.SP != "":
		return r.SP
	}
	return r.P
}

// lower is one level below: what a domain that is testing expects (RFC 9989 4.7, t).
func (p Policy) lower() Policy {
	if p == Reject {
		return Quarantine
	}
	return None
}

// Stricter says whether p asks for more than q.
func (p Policy) Stricter(q Policy) bool {
	order := []Policy{None, Quarantine, Reject}
	return slices.Index(order, p) > slices.Index(order, q)
}
