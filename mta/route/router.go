package route

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Users says who has a mailbox: an error that is mta.ErrUnknownUser means nobody, any other that nobody knows just now.
// The domain of the address it is asked for is in A-labels.
type Users interface {
	Lookup(ctx context.Context, a mta.Address) (directory.User, error)
}

// Aliases are those that stand in no file. Targets are as in one, several between commas; there are none where there is no such
// alias. An error means that nobody knows just now. The domain of the address it is asked for is in A-labels.
type Aliases interface {
	Alias(ctx context.Context, a mta.Address) (targets []string, err error)
}

// Returns are return addresses that were made here. sign.SRS is one: it says why a local part is none.
type Returns interface {
	Reverse(local string) (mta.Address, error)
}

// Domain is a domain of ours. All names are in A-labels and lower case.
type Domain struct {
	Name      string
	AliasOf   string      // the Name of the domain whose users and aliases count; "" = itself
	CatchAll  mta.Address // who gets mail for unknown names; the zero Address = nobody
	Aliases   string      // a file; "" = none
	Delimiter string      // "" = none; each of its characters is one
	Relay     bool        // mail goes on to the domain's other mail exchangers
	Any       bool        // with Relay: take every recipient, not only Users
	Verify    bool        // with Any: those that its host takes
}

// Route is one [[route]]. Discard, Program and Reply come before Dest.
type Route struct {
	Domain  string // a name, ".suffix" for all names under it, or "*"
	Discard bool
	Program string    // the name of its table in [programs]; "" = none
	Reply   mta.Reply // what every sender is told; a code of 4xx defers
	Dest    mta.Destination
}

// Options of a Router.
type Options struct {
	Hostname   string      // where <postmaster> lives
	Postmaster mta.Address // who gets postmaster's mail in a domain without one
	Origin     string      // the domain of this machine's users: there, and at Hostname, root is postmaster where it is nobody else
	Domains    []Domain
	Routes     []Route
	SmartHost  mta.Destination // the zero Destination: none
	Quota      int64           // of a mailbox whose user has none of his own, octets; 0 = none
	Users      Users
	Aliases    Aliases         // of all domains, behind their files; nil: none
	Returns    Returns         // finds the senders again of what was forwarded; nil: no sender is rewritten
	Programs   map[string]bool // those that aliases may name
	// AliasError is told that an aliases file has turned bad or cannot be read; the last good one stays in force. Once
	// for each change; it must not call the Router. nil: nobody is told.
	AliasError func(error)
	Now        func() time.Time // nil: time.Now
}

// Router decides. It is safe for use by many goroutines.
type Router struct {
	opt          Options
	domains      map[string]*domain
	host, origin string // in A-labels; of a domain alias, the domain
}

type domain struct {
	Domain
	aliases *aliasFile // nil: none
}

// New returns a Router. It fails where an aliases file cannot be read or has faults, with all of them, and where
// AliasOf leads nowhere.
func New(o Options) (*Router, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AliasError == nil {
		o.AliasError = func(error) {}
	}
	r := &Router{opt: o, domains: map[string]*domain{}}
	files := map[string]*aliasFile{}
	var faults []error
	for _, d := range o.Domains {
		v := &domain{Domain: d}
		if d.Aliases != "" {
			f := files[d.Aliases]
			if f == nil {
				var err error
				f, err = openAliases(d.Aliases, o.Now, o.AliasError)
				faults = append(faults, err)
				files[d.Aliases] = f
			}
			v.aliases = f
		}
		r.domains[d.Name] = v
	}
	for _, d := range o.Domains {
		if d.AliasOf == "" {
			continue
		}
		if t := r.domains[d.AliasOf]; t == nil || t.AliasOf != "" {
			faults = append(faults, fmt.Errorf("domain %s: alias_of %s is not a domain of its own here", d.Name, d.AliasOf))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, v := range []struct {
		of   string
		into *string
	}{{o.Hostname, &r.host}, {o.Origin, &r.origin}} {
		a, _ := r.canonical(mta.Address{Domain: v.of})
		*v.into = a.Domain
	}
	return r, nil
}

// Route decides on a recipient as it came in an envelope. Who is unknown is looked for once more in files that have changed in
// the last instants: smtpd, which has accepted him, may have seen that already.
func (r *Router) Route(ctx context.Context, a mta.Address) Decision {
	d := r.route(ctx, a)
	if d.Kind == Refused {
		r.recheck()
		d = r.route(ctx, a)
	}
	return d
}

// recheck has the next question look at the files, however short ago the last one did.
func (r *Router) recheck() {
	for _, d := range r.domains {
		if d.aliases != nil {
			d.aliases.recheck()
		}
	}
	if u, ok := r.opt.Users.(interface{ Recheck() }); ok {
		u.Recheck()
	}
}

func (r *Router) route(ctx context.Context, a mta.Address) Decision {
	a, d := r.canonical(a)
	if d == nil || d.Relay {
		return r.outward(ctx, a, d)
	}
	return r.local(ctx, a, d)
}

// Final decides on a member of an alias: the user's mailbox whatever aliases and forward= say, or a Remote. It looks for who
// is unknown as Route does.
func (r *Router) Final(ctx context.Context, a mta.Address) Decision {
	a, d := r.canonical(a)
	if d == nil || d.Relay {
		return r.outward(ctx, a, d)
	}
	dec := r.mailbox(ctx, a, d)
	if dec.Kind == Refused {
		r.recheck()
		dec = r.mailbox(ctx, a, d)
	}
	return dec
}

// Accept says whether smtpd may take a recipient. An alias is accepted without a look at its members.
func (r *Router) Accept(ctx context.Context, a mta.Address) Acceptance {
	a, d := r.canonical(a)
	acc := Acceptance{Ours: d != nil}
	var dec Decision
	if d == nil || d.Relay {
		dec = r.outward(ctx, a, d)
	} else {
		dec = r.find(ctx, a, d).Decision
	}
	if dec.Kind == Refused || dec.Kind == Deferred {
		acc.Reply, acc.Cause = dec.Reply, dec.Cause
	}
	switch {
	case dec.Kind == Mailbox:
		acc.Login, acc.Quota = dec.Login, dec.Quota
	case dec.Kind == Remote && d != nil && d.Verify:
		acc.Ask, acc.Address = &dec.Dest, a
	}
	return acc
}

// Local says whether a domain, in any form, is one of ours.
func (r *Router) Local(name string) bool {
	_, d := r.canonical(mta.Address{Domain: name})
	return d != nil
}

// canonical puts the domain into A-labels, resolves alias_of, and gives <postmaster> its domain.
func (r *Router) canonical(a mta.Address) (mta.Address, *domain) {
	if a.Domain == "" {
		a.Domain = r.opt.Hostname
	}
	a.Domain = strings.ToLower(a.Domain)
	if ascii, err := dns.ASCII(a.Domain); err == nil {
		a.Domain = ascii
	}
	d := r.domains[a.Domain]
	if d != nil && d.AliasOf != "" {
		d = r.domains[d.AliasOf]
		a.Domain = d.Name
	}
	return a, d
}

// outward decides on what is not delivered here: d is nil or a domain that we relay.
func (r *Router) outward(ctx context.Context, a mta.Address, d *domain) Decision {
	if d != nil && !d.Any && !isPostmaster(a) {
		if _, err := r.opt.Users.Lookup(ctx, a); errors.Is(err, mta.ErrUnknownUser) {
			return unknownUser()
		} else if err != nil {
			return lookupFailed(err)
		}
	}
	t, _ := r.way(a.Domain, d)
	switch {
	case t.Discard:
		return Decision{Kind: Discard}
	case t.Program != "":
		return Decision{Kind: Program, Program: t.Program}
	case t.Reply.Temporary():
		return Decision{Kind: Deferred, Reply: t.Reply}
	case t.Reply.Code != 0:
		return Decision{Kind: Refused, Reply: t.Reply}
	}
	return Decision{Kind: Remote, Dest: t.Dest}
}

// way returns the route for a domain, made up where the configuration has none, and what in the configuration gives it.
func (r *Router) way(name string, d *domain) (t Route, by string) {
	for _, t := range r.opt.Routes {
		if t.matches(name) {
			return t, "route " + t.Domain
		}
	}
	if d == nil && r.opt.SmartHost != (mta.Destination{}) {
		return Route{Dest: r.opt.SmartHost}, "smart_host"
	}
	return Route{Dest: mta.Destination{Domain: name}}, ByMX
}

func (t Route) matches(name string) bool {
	if strings.HasPrefix(t.Domain, ".") {
		return len(name) > len(t.Domain) && strings.HasSuffix(name, t.Domain)
	}
	return t.Domain == "*" || t.Domain == name
}

func isPostmaster(a mta.Address) bool { return strings.EqualFold(a.Local, "postmaster") }

// isAbuse says whether an address is the one that a domain's misuse is reported to (RFC 2142 4).
func isAbuse(a mta.Address) bool { return strings.EqualFold(a.Local, "abuse") }

// isLastResort says whether mail to an address always has a reader: postmaster (RFC 5321 4.5.1), and root of this machine,
// whose mail is its own programs'.
func (r *Router) isLastResort(a mta.Address) bool {
	return isPostmaster(a) || strings.EqualFold(a.Local, "root") && (a.Domain == r.host || a.Domain == r.origin)
}
