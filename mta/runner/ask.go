package runner

import (
	"context"
	"errors"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

var _ control.Schedule = (*Runner)(nil)

// ErrEnded says that the runner answers no questions any more.
var ErrEnded = errors.New("queue-runner is ending")

// ask runs do in the goroutine that owns the schedule, and returns when it has.
func (r *Runner) ask(ctx context.Context, do func(s *schedule)) error {
	answered := make(chan struct{})
	question := func(s *schedule) {
		do(s)
		close(answered)
	}
	select {
	case r.questions <- question:
		<-answered // the schedule never waits for anything
		return nil
	case <-r.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Health says why the runner does not do its work: the spool refuses something, or nobody answers.
func (r *Runner) Health(ctx context.Context) error {
	bad := ""
	if err := r.ask(ctx, func(s *schedule) { bad = s.troubles() }); err != nil {
		return err
	}
	if bad != "" {
		return errors.New("the spool refuses: " + bad + "; the log says why")
	}
	return nil
}

// States implements control.Schedule.
func (r *Runner) States(ctx context.Context, ms []*spool.Message) ([]control.State, error) {
	out := make([]control.State, len(ms))
	err := r.ask(ctx, func(s *schedule) {
		now := time.Now()
		for i, m := range ms {
			if it := s.items[m]; it != nil {
				out[i] = it.state(now)
			}
		}
	})
	return out, err
}

func (it *item) state(now time.Time) control.State {
	switch {
	case it.index < 0 && it.round == nil:
		return control.State{Status: control.StatusNew}
	case it.index < 0:
		return control.State{Status: control.StatusActive}
	}
	st := control.State{Status: control.StatusDeferred, Due: it.due}
	if x := it.holder; x != nil {
		st.Site = x.name
		if x.closed(now) {
			st.Due = latest(now, earlier(it.due, x.until))
			st.Why = "no host of " + x.name + " takes mail just now; " + reply(x.reason)
		} else {
			st.Why = "waits for its turn at " + x.name
		}
	}
	return st
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// reply is a deferral's last reply, and who gave it.
func reply(o mta.Outcome) string {
	if o.Host != "" {
		return o.Host + " said: " + o.Reply().String()
	}
	return o.Reply().String()
}
