package route

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
)

// Check looks at each alias of each domain as mail to it would be, and returns what is wrong, a sentence each: loops, bounds
// that are broken, and targets that do not exist here.
func (r *Router) Check(ctx context.Context) []string {
	var faults []string
	seen := map[mta.Address]bool{} // of a domain and the aliases of it
	for _, name := range slices.Sorted(maps.Keys(r.domains)) {
		d := r.domains[name]
		if d.aliases == nil || d.AliasOf != "" || d.Relay {
			continue
		}
		keys := slices.SortedFunc(maps.Keys(*d.aliases.table.Load()), func(a, b mta.Address) int {
			return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Local, b.Local))
		})
		for _, key := range keys {
			if key.Domain == "" {
				key.Domain = name
			}
			if a, owner := r.canonical(key); owner == nil {
				faults = append(faults, fmt.Sprintf("%s: alias %s: %s is no domain of this host", d.Aliases, a, a.Domain))
			} else if !seen[a] {
				seen[a] = true
				faults = append(faults, r.checkAlias(ctx, a, d)...)
			}
		}
	}
	return faults
}

func (r *Router) checkAlias(ctx context.Context, a mta.Address, d *domain) (faults []string) {
	say := func(what string, dec Decision) {
		if dec.Kind != Refused && dec.Kind != Deferred {
			return
		}
		why := fmt.Sprintf("alias %s: %s%s", a, what, dec.Reply.Text)
		if dec.Cause != nil {
			why = dec.Cause.Error()
		}
		faults = append(faults, d.Aliases+": "+why)
	}
	dec := r.Route(ctx, a)
	say("", dec)
	for _, m := range dec.Members {
		say(m.Address.String()+": ", m.Decision)
	}
	return faults
}
