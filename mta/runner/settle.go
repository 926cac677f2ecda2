package runner

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/bounce"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// maxReported is how many recipients one report tells of.
const maxReported = 500

// settle ends a round: what its sender is to be told is reported, what has to wait is spilled. y is the round's tally.
func (w *worker) settle(ctx context.Context, m *spool.Message, y tally) tally {
	if y.failed {
		v, bad := w.open(ctx, m)
		if v == nil {
			return bad
		}
		defer v.load.Close()
		v.tally.next = y.next
		v.report()
		y = v.tally
	}
	if !y.next.IsZero() {
		if err := w.store.Spill(m); err != nil {
			w.log.SpoolError("spill "+string(m.ID()), err)
		}
	}
	return y
}

// report tells the sender of all recipients that have come to an end, or are late, and were not reported yet: in one
// message, if they are not very many.
func (v *visit) report() {
	for !v.tally.unsynced {
		t, more := v.pending()
		if len(t.Failed)+len(t.Succeeded)+len(t.Delayed) == 0 || !v.reportSome(t) || !more {
			return
		}
	}
	v.tally.wait(time.Now())
}

// pending collects what one report is to tell of; more says that there is more than it may hold.
func (v *visit) pending() (t spool.Telling, more bool) {
	now := time.Now()
	n := 0
	for i := range v.rcpts {
		r := &v.rcpts[i]
		list := &t.Failed
		switch at := v.noticeAt(r); {
		case r.State == spool.Failure:
		case r.State == spool.Success:
			list = &t.Succeeded
		case !at.IsZero() && !now.Before(at) && v.resting(now).IsZero():
			list = &t.Delayed
		default:
			continue
		}
		if n == maxReported {
			return t, true
		}
		n++
		*list = append(*list, i)
	}
	return t, false
}

func (v *visit) reportSome(t spool.Telling) bool {
	to := v.env.Sender
	if to.IsNull() {
		to = v.set.Postmaster
	}
	child, err := v.store.Report(v.m, t, v.build(to, t))
	if child == nil {
		v.postponed("report", err)
		return false
	}
	for _, i := range append(t.Failed, t.Succeeded...) {
		v.rcpts[i].State = spool.Told
	}
	for _, i := range t.Delayed {
		v.rcpts[i].Late = true
	}
	v.tally.unsynced = err != nil
	v.tally.children = append(v.tally.children, child)
	v.set.Metrics.told(len(t.Failed), len(t.Delayed), len(t.Succeeded))
	v.log.QueueReported(child.ID(), v.env.ID, to, len(t.Failed), len(t.Delayed), len(t.Succeeded))
	return true
}

// build writes the report. Its own sender is null, so that nobody reports about it but to postmaster (RFC 5321 4.5.5).
func (v *visit) build(to mta.Address, t spool.Telling) spool.Build {
	return func(id mta.ID, w io.Writer) (*mta.Envelope, error) {
		text := message.NewReader(v.env.Prepend, v.env.Cut, v.load.Content, v.load.Size)
		p := bounce.Params{
			ID: id, Hostname: v.set.Hostname, Now: time.Now(), To: to, Envelope: v.env, Message: text, Size: text.Size(),
		}
		for _, i := range t.Failed {
			p.Rcpts = append(p.Rcpts, failure(&v.rcpts[i]))
		}
		for _, i := range t.Delayed {
			r := &v.rcpts[i]
			p.Rcpts = append(p.Rcpts, bounce.Rcpt{Recipient: r.Recipient, Action: bounce.Delayed, Outcome: r.Last, Until: v.end()})
		}
		for _, i := range t.Succeeded {
			r := &v.rcpts[i]
			p.Rcpts = append(p.Rcpts, bounce.Rcpt{Recipient: r.Recipient, Action: bounce.Action(r.Tell), Outcome: r.Last})
		}
		var report bytes.Buffer // its size is bounded
		eightBit, err := bounce.Build(&report, p)
		if err != nil {
			return nil, err
		}
		signature := ""
		if v.set.Sign != nil {
			if signature, err = v.set.Sign.Report(report.Bytes()); err != nil {
				return nil, err
			}
		}
		if _, err := report.WriteTo(w); err != nil {
			return nil, err
		}
		e := &mta.Envelope{Prepend: signature, Role: mta.RoleBounce, Rcpts: []mta.Recipient{{Address: to}}, Body: mta.Body7Bit, SMTPUTF8: p.SMTPUTF8(), RequireTLS: v.env.RequireTLS}
		if eightBit {
			e.Body = mta.Body8BitMIME
		}
		return e, nil
	}
}

// failure is a failed recipient as the report has it.
func failure(r *spool.Rcpt) bounce.Rcpt {
	f := bounce.Rcpt{Recipient: r.Recipient, Action: bounce.Failed, Outcome: r.Last}
	if r.Last.Host == "" && r.Last.Enhanced == codeExpired {
		for _, reason := range []string{lifetimeOver, deadlineOver} {
			if last, ok := strings.CutPrefix(r.Last.Text, reason); ok {
				f.Expired, f.Last = true, last
				f.Deadline = reason == deadlineOver
			}
		}
	}
	return f
}
