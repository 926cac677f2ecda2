package runner

import (
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtp"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// forHeld is how long a message waits that an operator has to let go: it is scheduled anew by whoever does that.
const forHeld = 100 * 365 * 24 * time.Hour

// begun is the time from which a message is tried: when it came in, or when its sender wanted it to leave (RFC 4865).
func (v *visit) begun() time.Time { return latest(v.env.Arrived, v.env.ReleaseAt) }

// end is the time of the last try.
func (v *visit) end() time.Time {
	lifetime := v.set.Lifetime
	if v.env.Sender.IsNull() {
		lifetime = v.set.BounceLifetime
	}
	end := v.begun().Add(lifetime)
	if by := v.env.DeliverBy; by != nil && by.Return() && by.At.Before(end) {
		end = by.At
	}
	return end
}

// tooLate says that the message is not to be delivered any more: the time that its sender had set is over (RFC 2852).
func (v *visit) tooLate(now time.Time) bool {
	by := v.env.DeliverBy
	return by != nil && by.Return() && !now.Before(by.At)
}

// resting is the time before which nothing is tried, zero when that may begin: the message is held, or its sender wants
// it to leave later.
func (v *visit) resting(now time.Time) time.Time {
	switch {
	case v.load.Hold != "":
		return now.Add(forHeld)
	case now.Before(v.env.ReleaseAt):
		return v.env.ReleaseAt
	}
	return time.Time{}
}

// noticeAt is when the sender is to be told that a recipient is still being tried, zero for never: once, after
// DelayNotice, or at the deadline where the sender has set one of that kind.
func (v *visit) noticeAt(r *spool.Rcpt) time.Time {
	n := notify(r.Notify)
	if v.env.Sender.IsNull() || r.Late || r.State != spool.ToDo || n.Never {
		return time.Time{}
	}
	var at time.Time
	switch by := v.env.DeliverBy; {
	case by != nil && !by.Return():
		at = by.At
	case v.set.DelayNotice > 0 && n.Delay:
		at = v.begun().Add(v.set.DelayNotice)
	}
	if !at.Before(v.end()) {
		return time.Time{} // what comes then is the end itself
	}
	return at
}

// watch notes when the sender is to be told of a recipient's delay.
func (v *visit) watch(r *spool.Rcpt, now time.Time) {
	at := v.noticeAt(r)
	switch {
	case at.IsZero():
	case now.Before(at):
		v.tally.wait(at)
	default:
		v.tally.failed = true
	}
}

// next is when to try a recipient again. None waits for longer than RetryMax: what says so was written while the clock was wrong, or
// with another RetryMax.
func (v *visit) next(r *spool.Rcpt, now time.Time) time.Time {
	if r.Next.After(now.Add(v.set.RetryMax)) {
		return now
	}
	return r.Next
}

// wake is when there is something to do for a recipient that is still to be delivered.
func (v *visit) wake(r *spool.Rcpt, now time.Time) time.Time {
	if rest := v.resting(now); !rest.IsZero() {
		return rest
	}
	t := latest(v.next(r, now), now)
	if at := v.noticeAt(r); !at.IsZero() && at.Before(t) {
		t = latest(at, now)
	}
	if end := v.end(); end.Before(t) {
		t = latest(end, now)
	}
	return t
}

// notify reads NOTIFY. Where there is none, reports of failure and delay are sent (RFC 3461 4.1).
func notify(s string) smtp.Notify {
	if n, ok := smtp.ParseNotify(s); ok {
		return n
	}
	return smtp.Notify{Failure: true, Delay: true}
}

// The words for a success that its sender is told of (RFC 3464 2.3.3).
const (
	tellDelivered = "delivered"
	tellRelayed   = "relayed"
	tellExpanded  = "expanded"
)

// tell returns the word for a success where its sender is to be told, "" where not: of the end of the way here, and of a
// next host that does not take over what the sender asked for (RFC 3461 5.2.2, RFC 2852 4.1).
func (v *visit) tell(r *spool.Rcpt, o mta.Outcome) string {
	n := notify(r.Notify)
	by := v.env.DeliverBy
	switch {
	case v.env.Sender.IsNull() || n.Never:
	case o.Host == "" || o.Final:
		if n.Success {
			return tellDelivered
		}
	case n.Success && !o.DSN, by != nil && !by.Return() && !o.By, by != nil && by.Trace():
		return tellRelayed
	}
	return ""
}
