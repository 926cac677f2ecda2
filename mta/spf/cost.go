package spf

import (
	"context"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dns"
)

// MaxTerms is how many terms of a record, with those of all that it includes, may ask DNS: with more it is an error for whomever the
// evaluation does not end before (RFC 7208 4.6.4).
const MaxTerms = maxTerms

// maxCounted bounds the counting.
const maxCounted = 4 * maxTerms

// Usage is what a record asks of DNS at the most.
type Usage struct {
	Terms int      // include, a, mx, ptr, exists and redirect
	Lost  []string // domains that are included, or redirected to, without a record that could be read
}

// Cost counts the terms that an evaluation needs for a client that matches none of them. It follows no name with a macro in it,
// and ends soon after MaxTerms.
func Cost(ctx context.Context, r Resolver, domain string) Usage {
	var u Usage
	u.add(ctx, r, domain)
	return u
}

func (u *Usage) add(ctx context.Context, r Resolver, domain string) {
	texts, err := r.TXT(ctx, domain)
	texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return !isRecord(t) })
	if err != nil && !dns.Permanent(err) {
		return
	}
	if len(texts) != 1 {
		u.Lost = append(u.Lost, domain)
		return
	}
	rec, err := parse(texts[0])
	if err != nil {
		u.Lost = append(u.Lost, domain)
		return
	}
	follow := func(target string) {
		if u.Terms++; u.Terms < maxCounted && !strings.Contains(target, "%") {
			u.add(ctx, r, target)
		}
	}
	for _, m := range rec.mechanisms {
		switch {
		case u.Terms >= maxCounted:
			return
		case m.name == "all":
			return // what follows is never asked, a redirect neither (RFC 7208 5.1)
		case m.name == "ip4", m.name == "ip6":
		case m.name == "include":
			follow(m.domain)
		default:
			u.Terms++
		}
	}
	if rec.redirect != "" {
		follow(rec.redirect)
	}
}
