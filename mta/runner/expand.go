package runner

import (
	"io"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/smtp"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// expand makes an alias's members recipients: those on this host of this message, the others of a forward. A member
// that cannot be decided on now, or is refused, stays with this message, where its fate is recorded like any other's. Where
// a list has an owner, who is to hear of all that fails, all members are the forward's, with the owner for its sender. The
// alias is the address in whose name the forward goes on.
func (v *visit) expand(i int, alias mta.Address, d route.Decision) {
	var members, off []mta.Recipient
	list := !d.Owner.IsNull() && !v.env.Sender.IsNull()
	several := len(d.Members)
	if list {
		several = max(several, 2) // the sender is told of the list, and not of its only member
	}
	wishes, tell := v.wishes(&v.rcpts[i], several)
	left := v.rcpts[i].Left
	if d.System != "" {
		left = mayBecome(&v.rcpts[i]) / max(1, len(d.Members))
	}
	for _, m := range d.Members {
		r := wishes
		if list { // the owner wants reports, and the sender's wishes do not count (RFC 3461 5.2.7.3)
			r = mta.Recipient{Folder: wishes.Folder, Final: true}
		}
		r.Address, r.Program, r.Via, r.Left = m.Address, m.Program, v.rcpts[i].Via, left
		if d.System != "" {
			r.Via = strings.TrimSpace(r.Via + " " + d.System)
		}
		if m.Target != "" {
			r.User, r.Target = m.System, m.Target
		} else if m.Program == "" && m.Kind != route.Remote && !list {
			r.Alias = alias // it may come to leave this host yet
		}
		switch {
		case m.Kind == route.Discard:
		case m.Kind == route.Remote || list:
			off = append(off, r)
		default:
			members = append(members, r)
		}
	}
	var forward spool.Build
	var rewritten mta.Address
	var kept error // why the sender could not be rewritten
	if len(off) > 0 {
		sender := v.env.Sender
		switch {
		case list:
			sender = d.Owner
		case v.set.Rewrite != nil && !sender.IsNull():
			if sender, kept = v.set.Rewrite(alias, sender); sender != v.env.Sender {
				rewritten = sender
			}
		}
		forward = v.forward(alias, off, sender, list)
	}
	child, err := v.store.Expand(v.m, i, members, tell, forward)
	if err != nil && child == nil && forward != nil {
		v.postponed("forward", err)
		return
	}
	if err != nil { // noted in memory, and not durable yet: members must wait until it is
		v.tally.unsynced = true
	}
	v.rcpts[i].State = spool.Told
	v.tally.failed = v.tally.failed || tell != ""
	for _, r := range members {
		v.rcpts = append(v.rcpts, spool.Rcpt{Recipient: r, Member: true})
	}
	var id mta.ID
	if child != nil {
		v.tally.children = append(v.tally.children, child)
		id = child.ID()
	}
	v.set.Metrics.expanded.Inc()
	v.log.QueueExpanded(v.env.ID, v.rcpts[i].Address, len(members), len(off), id, rewritten, kept)
}

// remote sends a recipient off this host. A member of an alias that was to stay here, or could not be decided on, when the alias
// was expanded goes like those that left then: with the forward's own sender, mark and seal.
func (v *visit) remote(i int, d route.Decision, to *grouping) {
	r := &v.rcpts[i]
	if !r.Member || r.Alias.IsNull() {
		to.add(d.Dest, i)
		return
	}
	v.expand(i, r.Alias, route.Decision{Kind: route.Alias, Members: []route.Member{{Address: r.Address, Decision: d}}})
}

// wishes are what the sender of a message to an alias wants of its members' reports (RFC 3461 5.2.7): the only member
// takes the alias's place; of several none reports success, and the sender who asked for that is told of the
// expansion.
func (v *visit) wishes(r *spool.Rcpt, members int) (of mta.Recipient, tell string) {
	of = mta.Recipient{Notify: r.Notify, ORcpt: r.ORcpt, Folder: r.Folder}
	if of.ORcpt == "" && r.Address.IsASCII() {
		of.ORcpt = "rfc822;" + smtp.EncodeXtext(r.Address.String())
	} else if of.ORcpt == "" {
		of.ORcpt = "utf-8;" + smtp.ASCIIAddress(r.Address.String())
	}
	n := notify(r.Notify)
	if !n.Success || members == 1 {
		return of, ""
	}
	n.Success = false
	if of.Notify = n.String(); of.Notify == "" {
		of.Notify = smtp.Notify{Never: true}.String()
	}
	if v.env.Sender.IsNull() {
		return of, ""
	}
	return of, tellExpanded
}

// forward builds the message for members of an alias off this host: the same content and trace, sealed, and with the mark by which
// it is known again if it comes back. With owner reports go to
// somebody else than the sender.
func (v *visit) forward(alias mta.Address, off []mta.Recipient, sender mta.Address, owner bool) spool.Build {
	return func(_ mta.ID, w io.Writer) (*mta.Envelope, error) {
		seal := ""
		if v.set.Sign != nil {
			var err error
			if seal, err = v.set.Sign.Forward(alias, v.env, message.NewReader(v.env.Prepend, v.env.Cut, v.load.Content, v.load.Size)); err != nil {
				return nil, err
			}
		}
		if _, err := io.Copy(w, io.NewSectionReader(v.load.Content, 0, v.load.Size)); err != nil {
			return nil, err
		}
		p := v.env
		e := &mta.Envelope{
			Role: mta.RoleForward, Sender: sender, Rcpts: off, Body: p.Body, SMTPUTF8: p.SMTPUTF8, RequireTLS: p.RequireTLS,
			Ret: p.Ret, EnvID: p.EnvID, Priority: p.Priority, DeliverBy: p.DeliverBy, Login: p.Login, Origin: p.Origin, Notes: p.Notes,
			Prepend: deliveredTo + ": " + alias.String() + "\r\n" + seal + p.Prepend, Cut: p.Cut,
		}
		if owner { // these are the sender's words to whom reports go to
			e.Ret, e.EnvID = "", ""
		}
		return e, nil
	}
}
