package route

import (
	"context"
	"fmt"
	"slices"

	"github.com/posthouse-mail/posthouse/mta"
)

// aliased returns the targets of one name, nil where it is no alias, and where they stand: in the file of the domain, or
// elsewhere.
func (r *Router) aliased(ctx context.Context, a mta.Address, d *domain) (targets []mta.Address, via string, err error) {
	if d.aliases != nil {
		if targets := d.aliases.lookup(a); targets != nil {
			if i := slices.IndexFunc(targets, func(t mta.Address) bool { return t.Domain == faultDomain }); i >= 0 {
				return nil, "", fmt.Errorf("alias %s: %s", a, targets[i].Local)
			}
			return targets, "the aliases file " + d.Aliases, nil
		}
	}
	if r.opt.Aliases == nil {
		return nil, "", nil
	}
	lines, err := r.opt.Aliases.Alias(ctx, a)
	if err != nil {
		return nil, "", err
	}
	for _, line := range lines {
		list, err := parseTargets(line, nil)
		if err != nil {
			return nil, "", fmt.Errorf("alias %s: %w", a, err)
		}
		for _, t := range list {
			if t.Domain == "" {
				t.Domain = a.Domain
			}
			targets = append(targets, t)
		}
		if len(targets) > MaxMembers {
			return nil, "", fmt.Errorf("alias %s: more than %d targets", a, MaxMembers)
		}
	}
	return targets, "the aliases of [users]", nil
}

// ownerOf returns the address owner-LIST of a list, where there is an alias of that name: then reports on its members go
// there, and not to those who write to the list (RFC 5321 3.9.2).
func (r *Router) ownerOf(ctx context.Context, list mta.Address, d *domain) (mta.Address, error) {
	switch targets, _, err := r.aliased(ctx, list, d); {
	case err != nil:
		return mta.Address{}, err
	case targets == nil:
		base, _, ok := cutDelimiter(list, d)
		if !ok {
			return mta.Address{}, nil
		}
		if targets, _, err := r.aliased(ctx, base, d); targets == nil || err != nil {
			return mta.Address{}, err
		}
		list = base
	}
	list.Local = "owner-" + list.Local
	if targets, _, err := r.aliased(ctx, list, d); targets == nil || err != nil {
		return mta.Address{}, err
	}
	return list, nil
}
