package runner

import (
	"context"
	"io"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/bounce"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// maxReported is how many recipients one report tells of.
const maxReported = 500

// settle ends a round: what failed is reported, what has to wait is spilled. y is the round's tally.
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

// report tells the sender of all recipients that have failed and were not reported yet.
func (v *visit) report() {
	var failed []int
	for i := range v.rcpts {
		if v.rcpts[i].State == spool.Failure {
			failed = append(failed, i)
		}
	}
	for len(failed) > 0 && !v.tally.unsynced {
		n := min(len(failed), maxReported)
		if !v.reportSome(failed[:n:n]) {
			return
		}
		failed = failed[n:]
	}
	if len(failed) > 0 {
		v.tally.wait(time.Now())
	}
}

func (v *visit) reportSome(failed []int) bool {
	to := v.env.Sender
	if to.IsNull() {
		to = v.set.Postmaster
	}
	child, err := v.store.Report(v.m, failed, v.build(to, failed))
	if child == nil {
		v.postponed("report", err)
		return false
	}
	v.tally.unsynced = err != nil
	v.tally.children = append(v.tally.children, child)
	v.log.QueueBounced(child.ID(), v.env.ID, to, len(failed))
	return true
}

// build writes the report. Its own sender is null, so that nobody reports about it but to postmaster (RFC 5321 4.5.5).
func (v *visit) build(to mta.Address, failed []int) spool.Build {
	return func(id mta.ID, w io.Writer) (*mta.Envelope, error) {
		text := message.NewReader(v.env.Prepend, v.env.Cut, v.load.Content, v.load.Size)
		p := bounce.Params{
			ID: id, Hostname: v.set.Hostname, Now: time.Now(), To: to, Envelope: v.env, Message: text, Size: text.Size(),
		}
		for _, i := range failed {
			r := &v.rcpts[i]
			p.Failures = append(p.Failures, bounce.Failure{
				Rcpt: r.Recipient, Outcome: r.Last, Expired: r.Last.Host == "" && r.Last.Enhanced == codeExpired,
			})
		}
		if err := bounce.Build(w, p); err != nil {
			return nil, err
		}
		return &mta.Envelope{
			Role: mta.RoleBounce, Rcpts: []mta.Recipient{{Address: to}}, Body: mta.Body7Bit, SMTPUTF8: p.SMTPUTF8(),
		}, nil
	}
}
