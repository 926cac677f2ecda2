package spf_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/spf"
)

// suite is the test suite of RFC 7208 (release 2014.04 of open-spf), whose licence stands beside it. A record is its type
// and its value, or TIMEOUT: what is not there besides does not answer.
type suite []struct {
	Description string
	Tests       []struct {
		Name, Helo, Host, MailFrom string
		Result                     []string
	}
	Zone suiteZone
}

type suiteZone map[string][][]any

// find returns what a name has of a type.
func (z suiteZone) find(name, kind string, links int) ([]any, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var found []any
	known, silent, spfs := false, false, []any(nil)
	for owner, records := range z {
		if strings.ToLower(owner) != name {
			continue
		}
		known = true
		for _, r := range records {
			switch r[0] {
			case kind:
				found = append(found, r[1])
			case "SPF":
				spfs = append(spfs, r[1])
			case "TIMEOUT", "CNAMELOOP":
				silent = true
			case "CNAME":
				if links > 8 {
					return nil, errors.New("aliases go round")
				}
				if target, ok := r[1].(string); ok {
					return z.find(target, kind, links+1)
				}
			}
		}
	}
	if kind == "TXT" && len(found) == 0 { // the suite writes SPF for a text of either type
		found = spfs
	}
	found = slices.DeleteFunc(found, func(v any) bool { return v == "NONE" })
	switch {
	case len(found) > 0:
		return found, nil
	case silent:
		return nil, errors.New("no answer")
	case known:
		return nil, dns.ErrNoData
	}
	return nil, dns.ErrNotFound
}

func (z suiteZone) TXT(_ context.Context, name string) ([]string, error) {
	values, err := z.find(name, "TXT", 0)
	var texts []string
	for _, v := range values {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case []any: // the strings of one record
			text := ""
			for _, s := range v {
				text += s.(string)
			}
			texts = append(texts, text)
		}
	}
	return texts, err
}

func (z suiteZone) MX(_ context.Context, domain string) ([]dns.MX, error) {
	values, err := z.find(domain, "MX", 0)
	var list []dns.MX
	for _, v := range values {
		pair := v.([]any)
		if host := pair[1].(string); host != "" {
			list = append(list, dns.MX{Pref: uint16(pair[0].(float64)), Host: host})
		}
	}
	if err == nil && len(list) == 0 {
		err = dns.ErrNullMX
	}
	return list, err
}

func (z suiteZone) Addrs(_ context.Context, host string, want6 bool) ([]netip.Addr, error) {
	values, err := z.find(host, "A", 0)
	if want6 {
		six, err6 := z.find(host, "AAAA", 0)
		values = append(slices.Clone(values), six...)
		if len(values) > 0 {
			err = nil
		} else if dns.Permanent(err) {
			err = err6
		}
	}
	var list []netip.Addr
	for _, v := range values {
		list = append(list, netip.MustParseAddr(v.(string)))
	}
	return list, err
}

func (z suiteZone) Name(_ context.Context, a netip.Addr) ([]string, error) {
	const hex = "0123456789abcdef"
	name := "in-addr.arpa"
	if a.Is6() {
		name = "ip6.arpa"
	}
	for _, b := range a.AsSlice() {
		if a.Is4() {
			name = netip.AddrFrom4([4]byte{0, 0, 0, b}).String()[len("0.0.0."):] + "." + name
		} else {
			name = string(hex[b&15]) + "." + string(hex[b>>4]) + "." + name
		}
	}
	values, err := z.find(name, "PTR", 0)
	var names []string
	for _, v := range values {
		names = append(names, v.(string))
	}
	return names, err
}

func TestTheSuiteOfRFC7208(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "rfc7208.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all suite
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range all {
		for _, c := range s.Tests {
			n++
			got, why := spf.Check(t.Context(), s.Zone, netip.MustParseAddr(c.Host), c.Helo, c.MailFrom)
			if !slices.Contains(c.Result, got) || (why != nil) != (got == spf.TempError || got == spf.PermError) {
				t.Errorf("%s: %s: got %s (%v), want %s", s.Description, c.Name, got, why, strings.Join(c.Result, " or "))
			}
		}
	}
	if n != 203 {
		t.Errorf("%d cases, want all 203", n)
	}
}
