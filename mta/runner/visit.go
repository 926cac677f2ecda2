package runner

import (
	"context"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// visit does all for a message that needs no network, and returns the transactions that are to be made. With look, an
// earlier run may have delivered it. Recipients of the destinations in early, and with force all, are tried before their
// time.
func (w *worker) visit(ctx context.Context, m *spool.Message, look, force bool, early map[mta.Destination]bool) visited {
	v, y := w.open(ctx, m)
	if v == nil {
		return visited{tally: y}
	}
	v.look = look
	var remote grouping
	now := time.Now()
	rest := v.resting(now)
	switch {
	case rest.IsZero():
	case v.load.Hold != "":
		v.log.QueueHeld(v.env.ID, time.Time{}, v.load.Hold)
	default:
		v.log.QueueHeld(v.env.ID, rest, "")
	}
	for i := 0; i < len(v.rcpts); i++ { // it grows by the members of aliases
		r := &v.rcpts[i]
		switch {
		case r.State == spool.Told:
		case r.State == spool.Failure || r.State == spool.Success:
			v.tally.failed = true
		case !rest.IsZero():
			v.tally.wait(rest)
		case v.tooLate(now) && !v.held():
			v.fail(i, missed(r.Last), "")
		case !force && !v.due(r) && !v.early(r, early):
			v.tally.wait(r.Next)
			v.watch(r, now)
		case v.held():
			v.tally.wait(time.Now())
		default:
			remote.due = time.Time{}
			if !v.due(r) {
				remote.due = v.wake(r, now)
			}
			v.recipient(i, &remote)
			if at := v.noticeAt(&v.rcpts[i]); !at.IsZero() && !now.Before(at) {
				v.tally.failed = true // its site may have no room for it: nothing is concluded then
			}
		}
	}
	if len(remote.groups) > 0 && v.congested.Load() {
		v.spill()
	}
	e := visited{flow: flowOf(v.env), groups: remote.groups, tally: v.tally}
	if len(e.groups) > 0 && v.load.Size <= maxKeptSize {
		v.load.Rcpts = v.rcpts
		e.load = v.load
	} else {
		v.load.Close()
	}
	return e
}

func (v *visit) early(r *spool.Rcpt, dests map[mta.Destination]bool) bool {
	if len(dests) == 0 {
		return false
	}
	d := v.decide(v.ctx, r)
	return d.Kind == route.Remote && dests[d.Dest]
}

// due says whether to try a recipient now. One that is nearly due goes along, so that the recipients of a message do not
// drift apart.
func (v *visit) due(r *spool.Rcpt) bool {
	now := time.Now()
	return !v.next(r, now).After(now.Add(v.set.RetryFirst / together))
}

func (w *worker) decide(ctx context.Context, r *spool.Rcpt) route.Decision {
	switch {
	case r.Program != "":
		return route.Decision{Kind: route.Program, Program: r.Program}
	case r.Target != "":
		d := route.Decision{Kind: route.Mailbox, Login: r.Address, System: r.User}
		if f := w.set.Router.Final(ctx, r.Address); f.System == r.User {
			d.Folder = f.Folder
		}
		return d
	}
	if r.Member || r.Final {
		return w.set.Router.Final(ctx, r.Address)
	}
	return w.set.Router.Route(ctx, r.Address)
}

func (v *visit) recipient(i int, remote *grouping) {
	d := v.decide(v.ctx, &v.rcpts[i])
	if to := v.fullAddress(&v.rcpts[i]); (d.Kind == route.Mailbox || d.Kind == route.Alias) && v.looped(to) {
		v.conclude(i, loop(to), "")
		return
	}
	switch d.Kind {
	case route.Program:
		v.program(i, d)
	case route.Mailbox:
		if d.System != "" {
			v.system(i, d)
		} else {
			v.deliver(i, d)
		}
	case route.Alias:
		v.expand(i, v.fullAddress(&v.rcpts[i]), d)
	case route.Remote:
		v.remote(i, d, remote)
	case route.Discard:
		v.conclude(i, mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "discarded, as the configuration says"}, byDiscard)
	case route.Refused:
		v.conclude(i, own(mta.Failed, d), "")
	default:
		v.conclude(i, own(mta.Deferred, d), "")
	}
}

// What stands in place of a host's name in the log.
const (
	byLocal   = "local"
	byDiscard = "discard"
	byProgram = "program"
)

func own(st mta.Status, d route.Decision) mta.Outcome {
	return mta.Outcome{Status: st, Code: d.Reply.Code, Enhanced: d.Reply.Enhanced, Text: d.Reply.Text, Cause: d.Cause}
}

// deliver puts the message into a mailbox of this host.
func (v *visit) deliver(i int, d route.Decision) {
	r := &v.rcpts[i]
	req, err := v.request(v.env, v.load, i, r, d, v.look)
	if err != nil {
		v.conclude(i, mta.Outcome{Code: 451, Enhanced: "4.3.5", Text: "the mailbox's name cannot be used", Cause: err}, byLocal)
		return
	}
	o, receipt := v.set.Local.Deliver(v.ctx, req)
	if o.Status == mta.Delivered && !receipt.Synced {
		v.store.Deposited(v.m, i, receipt.Dev, receipt.Dir)
		v.delivered(i, o, byLocal)
		return
	}
	v.conclude(i, o, byLocal)
}

// request is what Local needs. A look is due when any earlier try may have left the message in the mailbox.
func (w *worker) request(env *mta.Envelope, l *spool.Loaded, i int, r *spool.Rcpt, d route.Decision, look bool) (local.Request, error) {
	path, err := "", error(nil)
	if d.System == "" && d.Kind == route.Mailbox {
		path, err = w.set.Mailbox(d.Login)
	}
	folder := r.Folder
	if folder == "" {
		folder = d.Folder
	}
	return local.Request{
		Mailbox: path, Login: d.Login, Quota: d.Quota, Folder: folder, MakeFolder: r.Folder != "", ID: env.ID, Index: i, ReturnPath: env.Sender, DeliveredTo: w.fullAddress(r),
		Envelope: env, Content: l.Content, Look: look || r.Tries > 0, Redo: r.Redo,
		// What the sender is told of must last.
		Sync: !env.Sender.IsNull() && notify(r.Notify).Success,
	}, err
}

// fullAddress is that of a recipient, <postmaster>'s too.
func (w *worker) fullAddress(r *spool.Rcpt) mta.Address {
	a := r.Address
	if a.Domain == "" {
		a.Domain = w.set.Hostname
	}
	return a
}

// grouping collects the recipients that go off this host, those with one destination together.
type grouping struct {
	groups []*group
	open   map[mta.Destination]*group
	due    time.Time // of the recipients that come next; zero: it has come
}

func (x *grouping) add(dest mta.Destination, rcpt int) {
	if x.open == nil {
		x.open = map[mta.Destination]*group{}
	}
	g := x.open[dest]
	if g == nil || len(g.rcpts) == maxTransaction {
		g = &group{dest: dest, due: x.due}
		x.open[dest] = g
		x.groups = append(x.groups, g)
	}
	if x.due.Before(g.due) {
		g.due = x.due
	}
	g.rcpts = append(g.rcpts, rcpt)
}

// spill moves a message that has to wait out of its segment. Where that fails it waits in its segment.
func (v *visit) spill() {
	if err := v.store.Spill(v.m); err != nil {
		v.log.SpoolError("spill "+string(v.env.ID), err)
	}
}
