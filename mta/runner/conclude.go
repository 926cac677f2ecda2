package runner

import (
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// codeExpired is the enhanced code of a recipient that was tried for too long (RFC 3463 3.5).
const codeExpired = "5.4.7"

// conclude records what became of recipient i in an attempt by a host ("local" for this one's mailboxes).
func (v *visit) conclude(i int, o mta.Outcome, by string) {
	now := time.Now()
	if o.At.IsZero() {
		o.At = now
	}
	switch o.Status {
	case mta.Delivered:
		res := spool.Result{Outcome: o}
		if by != byDiscard {
			res.Tell = v.tell(&v.rcpts[i], o)
		}
		v.store.Record(v.m, i, res)
		v.tally.failed = v.tally.failed || res.Tell != ""
		v.delivered(i, o, by)
	case mta.Failed:
		v.fail(i, o, by)
	default:
		v.deferred(i, o, now, by)
	}
}

func (v *visit) delivered(i int, o mta.Outcome, by string) {
	delay := time.Since(v.env.Arrived)
	v.set.Metrics.delivered(by, delay)
	v.log.QueueDelivered(v.env.ID, v.rcpts[i].Address, by, o, delay)
}

// deferred lets recipient i wait, or fails it where its time is over. The last attempt is made when the time ends.
func (v *visit) deferred(i int, o mta.Outcome, now time.Time, by string) {
	if v.ctx.Err() != nil { // broken off by the end of the daemon: the attempt does not count
		v.tally.wait(now)
		return
	}
	end := v.end()
	if !now.Before(end) {
		v.fail(i, expired(o), by)
		return
	}
	r := &v.rcpts[i]
	next := now.Add(retryAfter(r.Tries+1, v.set.RetryFirst, v.set.RetryMax))
	if next.After(end) {
		next = end
	}
	v.store.Record(v.m, i, spool.Result{Outcome: o, Next: next})
	v.set.Metrics.way(by).deferred.Inc()
	v.log.QueueDeferred(v.env.ID, r.Address, o, next, r.Tries+1)
	v.tally.wait(next)
	v.watch(r, now)
}

const (
	lifetimeOver = "delivery time expired; "
	deadlineOver = "not delivered by the time that its sender had set; "
)

// expired is the failure that a deferral turns into; its text keeps the last reply.
func expired(o mta.Outcome) mta.Outcome { return overdue(lifetimeOver, o) }

// missed is the failure of a recipient whose sender did not want to wait any longer; o is the last deferral, zero when
// there was none.
func missed(o mta.Outcome) mta.Outcome {
	if o.At.IsZero() {
		o = mta.Outcome{Code: 450, Text: "there was no attempt yet"}
	}
	return overdue(deadlineOver, o)
}

func overdue(text string, o mta.Outcome) mta.Outcome {
	if o.Host != "" {
		text += o.Host + " said: "
	}
	return mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: codeExpired, Text: text + o.Reply().String(), At: o.At, Cause: o.Cause}
}

// fail gives recipient i up; by is as in conclude, "" where nobody was asked.
func (v *visit) fail(i int, o mta.Outcome, by string) {
	r := &v.rcpts[i]
	lost := v.nobodyLeft()
	quiet := lost || !notify(r.Notify).Failure
	v.store.Record(v.m, i, spool.Result{Outcome: o, Quiet: quiet})
	v.set.Metrics.way(by).failed.Inc()
	v.log.QueueFailed(v.env.ID, r.Address, o)
	if lost {
		v.set.Metrics.dropped.Inc()
		v.log.QueueDropped(v.env.ID, r.Address)
	}
	v.tally.failed = v.tally.failed || !quiet
}

// nobodyLeft says that the message is a report that went to postmaster, or a report about a report, such as what an
// alias of postmaster's makes of one: where even that fails nobody is left to tell (RFC 5321 6.1).
func (v *visit) nobodyLeft() bool {
	if !v.env.Sender.IsNull() {
		return false
	}
	if strings.Count(v.env.ID.Suffix(), "F") > 1 {
		return true
	}
	return v.env.Role == mta.RoleBounce && len(v.env.Rcpts) == 1 && v.env.Rcpts[0].Address == v.set.Postmaster
}
