package dnsbl

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/filters"
)

// maxReason bounds what a list tells the client, octets.
const maxReason = 200

// ask is one question to one list.
type ask struct {
	list *list
	name string // below the zone
	what string // as the client is told
}

// ask asks, and returns a note where the list has it. A list that does not answer lists nobody, and neither does one that
// has what no list may have: there somebody answers for every name (RFC 5782 5).
func (f *Filter) ask(ctx context.Context, a ask) *filters.Note {
	answer, ok := f.listed(ctx, a.list, a.name)
	if !ok {
		return nil
	}
	never := "1.0.0.127"
	if a.list.Kind == kindDomain {
		never = "invalid"
	}
	if _, ok := f.listed(ctx, a.list, never); ok {
		filters.Log().Warn("a list has every name: it is not believed", "zone", a.list.Zone)
		return nil
	}
	n := &filters.Note{Method: method, Result: "listed", Hidden: true, Properties: []filters.Property{
		{Type: "dns", Name: "zone", Value: a.list.Zone}, {Type: "dns", Name: "answer", Value: answer.String()},
		{Type: "policy", Name: "what", Value: a.what}, {Type: "policy", Name: "weight", Value: strconv.FormatFloat(*a.list.Weight, 'g', -1, 64)},
	}}
	if *a.list.Weight > 0 {
		if texts, err := f.Resolver.TXT(ctx, a.name+"."+a.list.Zone); err == nil {
			n.Reason = reason(texts[0])
		}
	}
	return n
}

func (f *Filter) listed(ctx context.Context, l *list, name string) (netip.Addr, bool) {
	addrs, err := f.Resolver.Addrs(ctx, name+"."+l.Zone, false)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		if l.lists(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// reason is a list's text as it may be told to a client.
func reason(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), maxReason)]
}

// reverse is an address as lists have it: octets of IPv4, nibbles of IPv6, the last first (RFC 5782 2.1, 2.4).
func reverse(ip netip.Addr) string {
	var parts []string
	b := ip.AsSlice()
	for i := len(b) - 1; i >= 0; i-- {
		if ip.Is4() {
			parts = append(parts, strconv.Itoa(int(b[i])))
		} else {
			parts = append(parts, strconv.FormatUint(uint64(b[i]&15), 16), strconv.FormatUint(uint64(b[i]>>4), 16))
		}
	}
	return strings.Join(parts, ".")
}
