package route

import (
	"context"
	"errors"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Owns says whether a user may send as an address: the own one, what send_as names, and whatever aliases, domain aliases,
// the delimiter, the catch-all or the lack of a postmaster lead to the user's mailbox. Another user's forward= does not
// count: it gives away mail, not a name. The login need not be a user. An error is temporary.
func (r *Router) Owns(ctx context.Context, login, a mta.Address) (bool, error) {
	u, err := r.opt.Users.Lookup(ctx, login)
	switch {
	case err == nil:
		if u.MaySendAs(a) {
			return true, nil
		}
		login = u.Address
	case !errors.Is(err, mta.ErrUnknownUser):
		return false, err
	}
	login, _ = r.canonical(login)
	o := owner{r: r, login: foldAddress(login), seen: map[mta.Address]bool{}}
	return o.gets(ctx, a, 0)
}

// owner looks for the way from an address to a login.
type owner struct {
	r     *Router
	login mta.Address
	seen  map[mta.Address]bool // folded
}

// gets says whether mail to a reaches the login. Beyond the bounds of an alias it does not.
func (o *owner) gets(ctx context.Context, a mta.Address, depth int) (bool, error) {
	a, d := o.r.canonical(a)
	key := foldAddress(a)
	if key == o.login {
		return true, nil
	}
	if d == nil || d.Relay || o.seen[key] || depth > MaxDepth || len(o.seen) == 2*MaxMembers {
		return false, nil
	}
	o.seen[key] = true
	targets, err := o.behind(ctx, a, d)
	if err != nil {
		return false, err
	}
	for _, t := range targets {
		if local, ok := strings.CutPrefix(t.Local, boxMark); ok { // a mailbox, which leads nowhere else
			t, _ = o.r.canonical(mta.Address{Local: local, Domain: t.Domain})
			if foldAddress(t) == o.login {
				return true, nil
			}
			continue
		}
		if yes, err := o.gets(ctx, t, depth+1); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

// behind returns where mail to a name that is not the login's goes, in the order in which find looks.
func (o *owner) behind(ctx context.Context, a mta.Address, d *domain) ([]mta.Address, error) {
	targets, known, err := o.exact(ctx, a, d)
	if known || err != nil {
		return targets, err
	}
	if base, _, ok := cutDelimiter(a, d); ok {
		if foldAddress(base) == o.login {
			return []mta.Address{base}, nil
		}
		if targets, known, err := o.exact(ctx, base, d); known || err != nil {
			return targets, err
		}
	}
	switch {
	case o.r.isLastResort(a):
		return []mta.Address{o.r.opt.Postmaster}, nil
	case !d.CatchAll.IsNull():
		return []mta.Address{d.CatchAll}, nil
	case isAbuse(a):
		return []mta.Address{o.r.opt.Postmaster}, nil
	}
	return nil, nil
}

// exact looks under one name; a user is known and leads nowhere else.
func (o *owner) exact(ctx context.Context, a mta.Address, d *domain) (targets []mta.Address, known bool, err error) {
	if targets, _, err := o.r.aliased(ctx, a, d); targets != nil || err != nil {
		return targets, err == nil, err
	}
	_, err = o.r.opt.Users.Lookup(ctx, a)
	if errors.Is(err, mta.ErrUnknownUser) {
		return nil, false, nil
	}
	return nil, err == nil, err
}
