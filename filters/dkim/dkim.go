// Package dkim is the filter dkim: it verifies the signatures of what comes in, and signs what goes out (RFC 6376, RFC 8463).
// cmd/filter starts it; posthouse-filters(7) describes its settings.
package dkim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// Resolver is what the filter asks of DNS.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
}

// Filter is the filter. The zero Filter asks the name servers of its site.
type Filter struct {
	Version  string
	Resolver Resolver

	keys map[string][]sign.Key // by domain
	set  settings
}

type settings struct {
	Verify        []string `toml:"verify"`         // roles
	Sign          []string `toml:"sign"`           // roles
	MaxSignatures int      `toml:"max_signatures"` // that are verified
}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "dkim", Version: f.Version, Summary: "verifies DKIM signatures, and signs", Edits: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	f.set = settings{Verify: []string{filters.RoleMX}, Sign: []string{filters.RoleSubmission, filters.RoleLocal}, MaxSignatures: 5}
	if err := s.Decode(&f.set); err != nil {
		return err
	}
	if f.set.MaxSignatures < 1 || f.set.MaxSignatures > 20 {
		return s.Fault("max_signatures", fmt.Sprintf("max_signatures = %d; allowed: 1 to 20", f.set.MaxSignatures))
	}
	for key, roles := range map[string][]string{"verify": f.set.Verify, "sign": f.set.Sign} {
		for _, r := range roles {
			if r != filters.RoleMX && r != filters.RoleSubmission && r != filters.RoleLocal && r != filters.RoleLMTP {
				return s.Fault(key, fmt.Sprintf("%s has %q; allowed: mx, submission, local, lmtp", key, r))
			}
		}
	}
	f.keys = map[string][]sign.Key{}
	for _, k := range site.DKIMKeys {
		key, err := sign.Load(k.Domain, k.Selector, k.Path)
		if err != nil {
			return fmt.Errorf("key of %s: %w; 'posthouse dkim keygen' makes one", k.Domain, err)
		}
		f.keys[k.Domain] = append(f.keys[k.Domain], key)
	}
	if f.Resolver == nil {
		r, err := dns.New(dns.Options{Servers: site.Resolvers})
		if err != nil {
			return err
		}
		f.Resolver = r
	}
	return nil
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	header, err := e.Message.Header()
	if err != nil {
		return nil, err
	}
	v := &filters.Verdict{}
	if slices.Contains(f.set.Sign, e.Role) {
		if err := f.sign(e, header, v); err != nil {
			return nil, err
		}
	}
	if slices.Contains(f.set.Verify, e.Role) {
		err = f.verify(ctx, e, header, v)
	}
	return v, err
}

// sign signs for the domain of From, where that has keys.
func (f *Filter) sign(e *filters.Event, header []filters.Field, v *filters.Verdict) error {
	keys := f.keys[domainOf(filters.Get(header, "From"))]
	if len(keys) == 0 {
		return nil
	}
	r, err := e.Message.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	raw, names := make([]string, len(header)), make([]string, len(header))
	for i, h := range header {
		raw[i], names[i] = h.Raw, h.Name
	}
	if err := sign.Check(raw); err != nil {
		v.Action, v.Code, v.Enhanced, v.Text = filters.Reject, 554, "5.6.0", err.Error()
		return nil
	}
	fields, err := sign.Message(bufio.NewReaderSize(r, 64<<10), names, keys)
	if err != nil {
		return err
	}
	for _, field := range slices.Backward(fields) { // each goes on top
		v.AddHeader("DKIM-Signature", field)
	}
	return nil
}

// domainOf is the domain of the one author of a message, in the form that the configuration has; "" where there is none,
// or are several with different ones.
func domainOf(from string) string {
	list, err := message.AuthorDomains([]string{from})
	if err != nil || len(list) > 1 {
		return ""
	}
	domain, err := mta.ParseDomain(list[0])
	if err != nil {
		return ""
	}
	return domain
}

// verify writes a note for each signature, or that there is none.
func (f *Filter) verify(ctx context.Context, e *filters.Event, header []filters.Field, v *filters.Verdict) error {
	var tags []map[string]string
	var raw []string
	for _, h := range header {
		raw = append(raw, h.Raw)
		if strings.EqualFold(h.Name, "DKIM-Signature") {
			tags = append(tags, parseTags(h.Value))
		}
	}
	if len(tags) == 0 {
		v.Notes = []filters.Note{{Method: "dkim", Result: "none"}}
		return nil
	}
	if err := sign.Check(raw); err != nil {
		v.Notes = []filters.Note{{Method: "dkim", Result: "permerror", Reason: err.Error()}}
		return nil
	}
	r, err := e.Message.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	found, err := dkim.VerifyWithOptions(io.MultiReader(bufio.NewReaderSize(r, 64<<10), strings.NewReader(sign.Ending)), &dkim.VerifyOptions{
		MaxVerifications: f.set.MaxSignatures,
		LookupTXT:        func(name string) ([]string, error) { return f.lookup(ctx, name) },
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		v.Notes = []filters.Note{{Method: "dkim", Result: "permerror", Reason: err.Error()}}
		return nil
	}
	for i, x := range found {
		if i < len(tags) {
			v.Notes = append(v.Notes, note(x, tags[i], time.Now()))
		}
	}
	return nil
}

// note is RFC 8601 2.7.1.
func note(x *dkim.Verification, tags map[string]string, now time.Time) filters.Note {
	n := filters.Note{Method: "dkim", Result: "pass"}
	add := func(name, value string) {
		if value != "" {
			n.Properties = append(n.Properties, filters.Property{Type: "header", Name: name, Value: value})
		}
	}
	switch {
	case x.Err == nil && !x.Expiration.IsZero() && now.After(x.Expiration):
		n.Result, n.Reason = "fail", "signature has expired"
	case x.Err == nil:
	case dkim.IsTempFail(x.Err):
		n.Result, n.Reason = "temperror", "key not found now"
	case dkim.IsPermFail(x.Err):
		n.Result, n.Reason = "permerror", reason(x.Err)
	default:
		n.Result, n.Reason = "fail", reason(x.Err)
	}
	add("d", strings.ToLower(tags["d"]))
	add("i", tags["i"])
	add("s", tags["s"])
	add("a", tags["a"])
	if b := tags["b"]; b != "" {
		add("b", b[:min(len(b), 8)])
	}
	return n
}

func reason(err error) string { return strings.TrimPrefix(err.Error(), "dkim: ") }

// parseTags reads a tag list (RFC 6376 3.2) with all blanks taken out.
func parseTags(value string) map[string]string {
	tags := map[string]string{}
	for tag := range strings.SplitSeq(value, ";") {
		name, v, ok := strings.Cut(tag, "=")
		if name = strings.TrimSpace(name); ok && tags[name] == "" {
			tags[name] = strings.Join(strings.Fields(v), "")
		}
	}
	return tags
}

func (f *Filter) lookup(ctx context.Context, name string) ([]string, error) {
	list, err := f.Resolver.TXT(ctx, name)
	if dns.Permanent(err) {
		return nil, nil
	}
	if err != nil { // the library knows by this type that it may be there later
		err = &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	}
	return list, err
}
