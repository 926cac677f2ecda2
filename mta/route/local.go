package route

import (
	"context"
	"errors"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/sign"
)

// found is what stands under a name in a domain of ours: a mailbox, a refusal, or (Kind Alias) targets that are not
// expanded yet. Via says where it was found, for operators.
type found struct {
	Decision
	targets []mta.Address
	via     string
}

// local decides on an address in a domain of ours.
func (r *Router) local(ctx context.Context, a mta.Address, d *domain) Decision {
	f := r.find(ctx, a, d)
	if f.Kind != Alias {
		return f.Decision
	}
	owner, err := r.ownerOf(ctx, a, d)
	if err != nil {
		return lookupFailed(err)
	}
	dec := r.expand(ctx, a, f.targets, owner.IsNull())
	if dec.Kind == Alias {
		dec.Owner = owner
	}
	return dec
}

// find looks under an address, without expanding what it finds.
func (r *Router) find(ctx context.Context, a mta.Address, d *domain) found {
	f := r.exact(ctx, a, d)
	if f.Kind != Refused {
		return f
	}
	if r.opt.Returns != nil && sign.IsSRS(a.Local) {
		return r.returned(a)
	}
	if base, folder, ok := cutDelimiter(a, d); ok {
		if f := r.exact(ctx, base, d); f.Kind != Refused {
			f.Folder = folder
			return f
		}
	}
	if r.isLastResort(a) {
		return r.postmaster(ctx, a)
	}
	if !d.CatchAll.IsNull() {
		return found{Decision{Kind: Alias}, []mta.Address{d.CatchAll}, "catch_all"}
	}
	if isAbuse(a) {
		return r.postmaster(ctx, a)
	}
	return f
}

// returned finds the sender of what was forwarded, by the address that it was given then.
func (r *Router) returned(a mta.Address) found {
	to, err := r.opt.Returns.Reverse(a.Local)
	switch {
	case errors.Is(err, sign.ErrSRSExpired):
		return found{Decision: refused(550, "5.1.1", "this return address is too old")}
	case err != nil:
		return found{Decision: refused(550, "5.1.1", "no such return address here")}
	}
	return found{Decision{Kind: Alias}, []mta.Address{to}, "the return address (SRS) of what was forwarded for " + to.String()}
}

// exact looks under one name: the aliases, then the users.
func (r *Router) exact(ctx context.Context, a mta.Address, d *domain) found {
	switch targets, via, err := r.aliased(ctx, a, d); {
	case err != nil:
		return found{Decision: lookupFailed(err)}
	case targets != nil:
		return found{Decision{Kind: Alias}, targets, via}
	}
	u, err := r.opt.Users.Lookup(ctx, a)
	switch {
	case errors.Is(err, mta.ErrUnknownUser):
		return found{Decision: unknownUser()}
	case err != nil:
		return found{Decision: lookupFailed(err)}
	case len(u.Forward) > 0:
		return found{Decision{Kind: Alias}, u.Forward, "forward= of the user " + u.Address.String()}
	}
	return found{Decision: r.into(u), via: kind(u) + " " + u.Address.String()}
}

// postmaster finds the one who stands in for a domain's absent postmaster; in the last resort it is a mailbox of that
// name at the host, which needs no user.
func (r *Router) postmaster(ctx context.Context, a mta.Address) found {
	last := mta.Address{Local: "postmaster", Domain: r.opt.Hostname}
	nobody := found{Decision: Decision{Kind: Mailbox, Login: last}, via: "the last resort of postmaster"}
	p, d := r.canonical(r.opt.Postmaster)
	if p == a || r.opt.Postmaster.IsNull() {
		return nobody
	}
	if d == nil || d.Relay {
		return found{Decision{Kind: Alias}, []mta.Address{p}, "postmaster"}
	}
	f := r.exact(ctx, p, d)
	switch f.Kind {
	case Refused:
		return nobody
	case Deferred:
		return f
	}
	return found{Decision{Kind: Alias}, []mta.Address{p}, "postmaster, " + f.via}
}

// into is a user's mailbox.
func (r *Router) into(u directory.User) Decision {
	d := Decision{Kind: Mailbox, Login: u.Address, System: u.System, Quota: u.Quota}
	if d.Quota < 0 {
		d.Quota = r.opt.Quota
	}
	return d
}

// mailbox decides on an address that aliases and forward= no longer change.
func (r *Router) mailbox(ctx context.Context, a mta.Address, d *domain) Decision {
	u, err := r.opt.Users.Lookup(ctx, a)
	if err == nil {
		return r.into(u)
	}
	if !errors.Is(err, mta.ErrUnknownUser) {
		return lookupFailed(err)
	}
	if base, folder, ok := cutDelimiter(a, d); ok {
		dec := r.mailbox(ctx, base, &domain{})
		dec.Folder = folder
		return dec
	}
	if r.isLastResort(a) || isAbuse(a) {
		return Decision{Kind: Mailbox, Login: mta.Address{Local: "postmaster", Domain: r.opt.Hostname}}
	}
	return unknownUser()
}

func kind(u directory.User) string {
	if u.System != "" {
		return "the machine's user"
	}
	return "the user"
}

// cutDelimiter takes the part from the first delimiter on away; there must be something on both sides.
func cutDelimiter(a mta.Address, d *domain) (base mta.Address, folder string, ok bool) {
	i := strings.IndexAny(a.Local, d.Delimiter)
	if i <= 0 || i == len(a.Local)-1 {
		return a, "", false
	}
	return mta.Address{Local: a.Local[:i], Domain: a.Domain}, a.Local[i+1:], true
}
