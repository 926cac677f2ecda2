package runner

import (
	"context"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// transact makes one transaction. Where the site is down nothing is concluded: the schedule may know better.
func (w *worker) transact(ctx context.Context, g *group, l *spool.Loaded) (e transacted) {
	e.group = g
	e.tally = w.forEach(ctx, g, l, func(v *visit, todo []int) []mta.Outcome {
		t := Transaction{Envelope: v.env, Dest: g.dest, Content: v.load.Content, Size: v.load.Size}
		for _, i := range todo {
			t.Rcpts = append(t.Rcpts, v.rcpts[i].Recipient)
		}
		began := time.Now()
		out, up := w.set.Remote.Deliver(ctx, t)
		w.set.Metrics.transaction.Observe(time.Since(began).Seconds())
		if !up && ctx.Err() == nil && len(out) > 0 {
			e.down = &out[0]
			return nil
		}
		e.up = up && ctx.Err() == nil
		return out
	})
	return e
}

// turnAway defers the recipients of a transaction that is not made.
func (w *worker) turnAway(ctx context.Context, g *group, l *spool.Loaded, why mta.Outcome) tally {
	return w.forEach(ctx, g, l, func(_ *visit, todo []int) []mta.Outcome {
		return slices.Repeat([]mta.Outcome{why}, len(todo))
	})
}

// forEach asks do for an outcome of each recipient that is still to be delivered, and concludes them, unless there is
// none. The message is read anew where the visit has not kept it.
func (w *worker) forEach(ctx context.Context, g *group, l *spool.Loaded, do func(v *visit, todo []int) []mta.Outcome) tally {
	var v *visit
	if l != nil {
		v = w.opened(ctx, g.it.m, l)
	} else {
		var y tally
		if v, y = w.open(ctx, g.it.m); v == nil {
			return y
		}
		defer v.load.Close()
	}
	var todo []int
	late := v.tooLate(time.Now())
	for _, i := range g.rcpts {
		switch {
		case i >= len(v.rcpts) || v.rcpts[i].State != spool.ToDo:
		case late: // its time has gone by while it was in line
			v.fail(i, missed(v.rcpts[i].Last), "")
		default:
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 {
		return v.tally
	}
	out := do(v, todo)
	if out == nil {
		return v.tally
	}
	for n, i := range todo {
		var o mta.Outcome
		if n < len(out) {
			o = out[n]
		}
		v.conclude(i, o, o.Host)
	}
	return v.tally
}
