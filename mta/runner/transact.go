package runner

import (
	"context"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// transact makes one transaction.
func (w *worker) transact(ctx context.Context, m *spool.Message, dest mta.Destination, rcpts []int) tally {
	return w.forEach(ctx, m, rcpts, func(v *visit, todo []int) []mta.Outcome {
		t := Transaction{Envelope: v.env, Dest: dest, Content: v.load.Content, Size: v.load.Size}
		for _, i := range todo {
			t.Rcpts = append(t.Rcpts, v.rcpts[i].Recipient)
		}
		return w.set.Remote.Deliver(ctx, t)
	})
}

// turnAway defers the recipients of a transaction that there is no room for.
func (w *worker) turnAway(ctx context.Context, m *spool.Message, rcpts []int) tally {
	return w.forEach(ctx, m, rcpts, func(_ *visit, todo []int) []mta.Outcome {
		out := make([]mta.Outcome, len(todo))
		for i := range out {
			out[i] = mta.Outcome{Code: 451, Enhanced: "4.4.5", Text: "too many messages wait for this destination"}
		}
		return out
	})
}

// forEach asks do for an outcome of each recipient that is still to be delivered, and concludes them.
func (w *worker) forEach(ctx context.Context, m *spool.Message, rcpts []int, do func(v *visit, todo []int) []mta.Outcome) tally {
	v, y := w.open(ctx, m)
	if v == nil {
		return y
	}
	defer v.load.Close()
	var todo []int
	for _, i := range rcpts {
		if i < len(v.rcpts) && v.rcpts[i].State == spool.ToDo {
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 {
		return v.tally
	}
	out := do(v, todo)
	for n, i := range todo {
		var o mta.Outcome
		if n < len(out) {
			o = out[n]
		}
		v.conclude(i, o, o.Host)
	}
	return v.tally
}
