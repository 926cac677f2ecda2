package route

import (
	"context"

	"github.com/posthouse-mail/posthouse/mta"
)

// ByMX is the way of a domain that no route and no smart host is for.
const ByMX = "mx"

// Explanation is a decision with what has led to it, for an operator. It is that of Route, made in the same way.
type Explanation struct {
	Address mta.Address // as it is looked up: the domain in A-labels, and the one that alias_of names
	Domain  *Domain     // of ours; nil: it is not
	Via     string      // what under the domain's names it was found as; "" off this host, and where nothing was found
	Accept  Acceptance
	Decision
}

// Explain says what Route does, and why.
func (r *Router) Explain(ctx context.Context, a mta.Address) Explanation {
	x := Explanation{Accept: r.Accept(ctx, a), Decision: r.Route(ctx, a)}
	var d *domain
	x.Address, d = r.canonical(a)
	if d != nil {
		x.Domain = &d.Domain
		if !d.Relay {
			x.Via = r.find(ctx, x.Address, d).via
		}
	}
	return x
}

// Way says what in the configuration gives the way of mail that leaves this host for an address: "route" and the name
// that the route is for, "smart_host", or ByMX.
func (r *Router) Way(a mta.Address) string {
	a, d := r.canonical(a)
	_, by := r.way(a.Domain, d)
	return by
}
