package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Bounds of one alias with all that is in it.
const (
	MaxDepth   = 10
	MaxMembers = 10000
)

var (
	errDeep = errors.New("aliases nested too deep")
	errMany = errors.New("too many members")
	errLoop = errors.New("alias loop")
)

// expansion collects the members of one alias.
type expansion struct {
	r       *Router
	members []Member
	seen    map[mta.Address]bool // what has been looked at, folded: every address once
	boxes   map[box]bool         // the mailboxes among members
	path    []mta.Address        // from the alias down to where we are, folded
}

type box struct {
	login  mta.Address
	folder string
}

// errUndecided: of a target nobody can tell for the moment what it is. As a member it would be taken for a mailbox later.
var errUndecided = errors.New("one of its targets cannot be looked up")

// expand flattens an alias. A loop, and an alias beyond the bounds, is the operator's to mend: the whole alias waits, and so it
// does while one of its targets cannot be looked up, which may be an alias, or forward. If only one mailbox comes of it, that is the decision where short is set: with an owner it is a list all the same.
func (r *Router) expand(ctx context.Context, a mta.Address, targets []mta.Address, short bool) Decision {
	x := &expansion{r: r, seen: map[mta.Address]bool{}, boxes: map[box]bool{}}
	switch err := x.add(ctx, a, targets); {
	case errors.Is(err, errUndecided):
		return lookupFailed(fmt.Errorf("alias %s: %w", a, err))
	case err != nil:
		return misconfigured(fmt.Errorf("alias %s: %w", a, err))
	}
	if short && len(x.members) == 1 && x.members[0].Kind != Remote {
		return x.members[0].Decision
	}
	return Decision{Kind: Alias, Members: x.members}
}

func (x *expansion) add(ctx context.Context, a mta.Address, targets []mta.Address) error {
	if len(x.path) == MaxDepth {
		return errDeep
	}
	x.path = append(x.path, foldAddress(a))
	defer func() { x.path = x.path[:len(x.path)-1] }()
	for _, t := range targets {
		if err := x.one(ctx, a, t); err != nil {
			return err
		}
	}
	return nil
}

// one adds one target of an alias.
func (x *expansion) one(ctx context.Context, alias, t mta.Address) error {
	if name, ok := programOf(t); ok {
		return x.program(alias, name)
	}
	if local, ok := strings.CutPrefix(t.Local, boxMark); ok {
		return x.box(ctx, mta.Address{Local: local, Domain: t.Domain})
	}
	if t == nowhere {
		if x.seen[t] {
			return nil
		}
		x.seen[t] = true
		return x.member(alias, Decision{Kind: Discard})
	}
	return x.target(ctx, t)
}

// box adds a mailbox, whatever aliases and forward= say of its name.
func (x *expansion) box(ctx context.Context, t mta.Address) error {
	t, d := x.r.canonical(t)
	if d == nil || d.Relay {
		return x.target(ctx, t)
	}
	return x.member(t, x.r.mailbox(ctx, t, d))
}

func (x *expansion) target(ctx context.Context, t mta.Address) error {
	t, d := x.r.canonical(t)
	key := foldAddress(t)
	if key == x.path[len(x.path)-1] {
		return x.self(ctx, t, d)
	}
	for _, p := range x.path {
		if p == key {
			return fmt.Errorf("%w: %s leads back to %s", errLoop, x.path[len(x.path)-1], t)
		}
	}
	if x.seen[key] {
		return nil
	}
	if len(x.seen) == 2*MaxMembers {
		return errMany
	}
	x.seen[key] = true
	if d == nil || d.Relay {
		return x.member(t, x.r.outward(ctx, t, d))
	}
	f := x.r.find(ctx, t, d)
	switch f.Kind {
	case Alias:
		return x.add(ctx, t, f.targets)
	case Deferred:
		return fmt.Errorf("%w: %s: %w", errUndecided, t, f.Cause)
	}
	return x.member(t, f.Decision)
}

// self is an alias or forwarding user among its own members: the mailbox of that name.
func (x *expansion) self(ctx context.Context, t mta.Address, d *domain) error {
	dec := unknownUser()
	if d != nil {
		dec = x.r.mailbox(ctx, t, d)
	}
	if dec.Kind == Refused {
		return fmt.Errorf("%w: %s names itself and has no mailbox", errLoop, t)
	}
	return x.member(t, dec)
}

// program adds a program that an alias names, once.
func (x *expansion) program(alias mta.Address, name string) error {
	key := programTarget(name)
	if x.seen[key] {
		return nil
	}
	x.seen[key] = true
	dec := Decision{Kind: Program, Program: name}
	if !x.r.opt.Programs[name] {
		dec = misconfigured(fmt.Errorf("there is no [programs.%s] in the configuration", name))
		dec.Program = name
	}
	return x.member(alias, dec)
}

// programTarget is a program as the target of an alias: its domain is none that an address can have.
func programTarget(name string) mta.Address { return mta.Address{Local: name, Domain: programDomain} }

const programDomain = "|"

// boxMark stands before the local part of a target that is \name: the mailbox itself. No address has it in it.
const boxMark = "\x00"

// nowhere is the target /dev/null.
var nowhere = mta.Address{Local: "/dev/null", Domain: "/"}

func programOf(t mta.Address) (name string, ok bool) { return t.Local, t.Domain == programDomain }

// member adds one final recipient, unless its mailbox is there already under another name.
func (x *expansion) member(t mta.Address, dec Decision) error {
	if b := (box{dec.Login, dec.Folder}); dec.Kind == Mailbox {
		if x.boxes[b] {
			return nil
		}
		x.boxes[b] = true
	}
	if len(x.members) == MaxMembers {
		return errMany
	}
	x.members = append(x.members, Member{t, dec})
	return nil
}

// foldAddress is the key under which two spellings are one: ASCII letters of the local part in lower case.
func foldAddress(a mta.Address) mta.Address {
	a.Local = mta.LowerASCII(a.Local)
	return a
}
