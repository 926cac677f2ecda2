package runner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// A delivery of System that has taken slowTime is not one of MaxLocal any more, so that users whose programs hang hold up their
// own mail alone; but of so many at the most.
const (
	slowTime = 5 * time.Second
	maxSlow  = 256
)

// program gives the message to a program of the configuration.
func (v *visit) program(i int, d route.Decision) {
	o, targets := v.hand(i, d, asuser.Target{})
	if len(targets) > 0 {
		o = mta.Outcome{Code: 451, Enhanced: "4.3.5", Text: "the program cannot be used", Cause: errors.New("it names other recipients")}
	}
	v.conclude(i, o, byProgram)
}

// system delivers to a user of the machine. What ~/.forward names instead becomes recipients like an alias's members, each
// of which is delivered to, and recorded, by itself. Where ~/.forward of others has led back to the user, the mailbox gets
// the message: nothing goes in a circle.
func (v *visit) system(i int, d route.Decision) {
	r := &v.rcpts[i]
	target := parseTarget(r.Target)
	before := strings.Fields(r.Via)
	if slices.Contains(before, d.System) && target.Kind == "" {
		target.Kind = asuser.ToMailbox
	}
	o, targets := v.hand(i, d, target)
	switch {
	case len(targets) == 0:
		v.conclude(i, o, byLocal)
	case target.Kind != "":
		err := fmt.Errorf("deliver-local names targets of a %s", target.Kind)
		v.conclude(i, mta.Outcome{Code: 451, Enhanced: "4.3.5", Text: "the recipient's account is not in order at the moment", Cause: err}, byLocal)
	default:
		members, waits := v.wanted(r, d, targets)
		if waits != nil {
			v.conclude(i, own(mta.Deferred, *waits), byLocal)
			return
		}
		if most := mayBecome(r); len(members) > most || len(before) == route.MaxDepth {
			v.conclude(i, multiplied(most, before, d.System), byLocal)
			return
		}
		v.expand(i, v.fullAddress(r), route.Decision{Kind: route.Alias, Members: members, System: d.System})
	}
}

// maxForwarded is how many recipients one may become by the ~/.forward of users, one behind the other. Each of the n that one
// names may become an nth of that: so the bound holds for all of them together, whatever order they are in, and after a restart.
const maxForwarded = route.MaxMembers

// mayBecome is how many recipients one may still become.
func mayBecome(r *spool.Rcpt) int { return cmp.Or(r.Left, maxForwarded) }

// multiplied is what becomes of a recipient whose forwards are too many (RFC 3463 3.3).
func multiplied(most int, before []string, name string) mta.Outcome {
	cause := fmt.Errorf("~/.forward of %s names more than the %d recipients that may still come of this one, or is one of more than %d in a row; those before it: %s",
		name, most, route.MaxDepth, cmp.Or(strings.Join(before, ", "), "none"))
	return mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.2.4", Text: "too many forwards, one behind the other: the message would become too many", Cause: cause}
}

// hand asks System for a delivery.
func (v *visit) hand(i int, d route.Decision, target asuser.Target) (mta.Outcome, []asuser.Target) {
	if v.set.System == nil {
		return mta.Outcome{Code: 451, Enhanced: "4.3.5", Text: "recipient is misconfigured here", Cause: errors.New("nothing here delivers as other users")}, nil
	}
	req, _ := v.request(v.env, v.load, i, &v.rcpts[i], d, v.look)
	if !req.MakeFolder {
		req.Folder = ""
	}
	slow := time.AfterFunc(slowTime, func() { v.slow.Add(1) })
	defer func() {
		if !slow.Stop() {
			v.slow.Add(-1)
		}
	}()
	return v.set.System.Deliver(v.ctx, SystemRequest{Request: req, User: d.System, Program: d.Program, Extension: d.Folder, Target: target})
}

// wanted are the members that a user's ~/.forward names; waits says that one of them cannot be looked up now: it may be an
// alias, which it could not be as a member. Where they are too many, not all are there.
func (v *visit) wanted(r *spool.Rcpt, d route.Decision, targets []asuser.Target) (members []route.Member, waits *route.Decision) {
	most := mayBecome(r)
	for _, t := range targets {
		if len(members) > most {
			break
		}
		if t.Kind == asuser.ToNothing {
			members = append(members, route.Member{Address: r.Address, Decision: route.Decision{Kind: route.Discard}})
			continue
		}
		if t.Kind != asuser.ToAddress {
			members = append(members, route.Member{Address: r.Address, Decision: route.Decision{Kind: route.Mailbox, Login: d.Login, System: d.System, Target: t.Kind + " " + t.Value}})
			continue
		}
		a, err := mta.ParseAddress(t.Value)
		if err != nil {
			continue // System has looked at it
		}
		to := v.set.Router.Route(v.ctx, a)
		if to.Open {
			return nil, &to
		}
		if to.Kind == route.Alias {
			members = append(members, to.Members...)
			continue
		}
		if to.Kind == route.Mailbox {
			if f := v.set.Router.Final(v.ctx, a); f.Kind != route.Mailbox || f.Login != to.Login {
				a = to.Login // found under another name: that of a catch_all, or of postmaster
			}
		}
		members = append(members, route.Member{Address: a, Decision: to})
	}
	return members, nil
}

// parseTarget reads Recipient.Target.
func parseTarget(s string) asuser.Target {
	kind, value, _ := strings.Cut(s, " ")
	return asuser.Target{Kind: kind, Value: value}
}
