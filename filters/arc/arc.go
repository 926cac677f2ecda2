// Package arc is the filter arc: it validates the chain of those through whose hands a message went, who say what they had found of
// it (RFC 8617). cmd/filter starts it; posthouse-filters(7) describes its settings.
package arc

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// checkTime bounds the lookups of a chain, which may name 51 keys.
const checkTime = 20 * time.Second

// maxResults bounds what is read of one host's results, octets.
const maxResults = 16 << 10

// Resolver is what the filter asks of DNS.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
}

// Filter is the filter. The zero Filter asks the name servers of its site.
type Filter struct {
	Version  string
	Resolver Resolver

	set settings
}

type settings struct {
	Score map[string]float64 `toml:"score"` // by result
}

var results = []string{"none", "pass", "fail"}

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "arc", Version: f.Version, Summary: "validates what forwarders and lists say they had found (ARC)", Roles: []string{filters.RoleMX}, Parallel: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	f.set = settings{}
	if err := s.Decode(&f.set); err != nil {
		return err
	}
	for r := range f.set.Score {
		if !slices.Contains(results, r) {
			return s.Fault("score", fmt.Sprintf("score: %q is not among the results: %s", r, strings.Join(results, ", ")))
		}
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
	fields, err := e.Message.Header()
	if err != nil {
		return nil, err
	}
	header := make([]string, len(fields))
	for i, h := range fields {
		header[i] = h.Raw
	}
	chain := sign.ReadChain(header)
	note := filters.Note{Method: "arc", Result: "none"}
	if len(chain.Sets) > 0 || chain.Err != nil {
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		body, err := e.Message.Body()
		if err != nil {
			return nil, err
		}
		defer body.Close()
		note.Result = "pass"
		if err := chain.Validate(ctx, f.Resolver.TXT, header, bufio.NewReaderSize(body, 64<<10)); err != nil {
			note.Result, note.Reason = "fail", err.Error()
		}
		if e.Client.IsValid() {
			note.Properties = []filters.Property{{Type: "smtp", Name: "remote-ip", Value: e.Client.Addr().Unmap().String()}}
		}
	}
	v := &filters.Verdict{Notes: []filters.Note{note}, Score: f.set.Score[note.Result]}
	if note.Result == "pass" {
		for i, s := range chain.Sets {
			v.Notes = append(v.Notes, setNote(i+1, s))
		}
	}
	return v, nil
}

// setNote tells later filters who has sealed, and what that host had found of the author.
func setNote(i int, s sign.Set) filters.Note {
	n := filters.Note{Method: "arc-set", Result: s.CV, Hidden: true, Properties: []filters.Property{
		{Type: "header", Name: "i", Value: strconv.Itoa(i)}, {Type: "header", Name: "d", Value: s.Domain},
	}}
	if len(s.Results) > maxResults {
		return n
	}
	_, list, err := authres.Parse(s.Results)
	if err != nil {
		return n
	}
	for _, r := range list {
		if d, ok := r.(*authres.DMARCResult); ok {
			n.Properties = append(n.Properties, filters.Property{Type: "policy", Name: "dmarc", Value: strings.ToLower(string(d.Value))})
			break
		}
	}
	return n
}
