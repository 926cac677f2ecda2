package runner_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

// plan is what happens to a recipient: so many deferrals, then the end.
type plan struct {
	deferrals int
	fail      bool
}

// wish is what an operator wants of a message, so many seconds after the wish before it.
type wish struct {
	message, after int
	op             string
}

func TestEveryRecipientEndsInExactlyOneWay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plans := map[string]plan{}
		var messages [][]string
		for m := range rapid.IntRange(1, 6).Draw(rt, "messages") {
			var to []string
			for r := range rapid.IntRange(1, 5).Draw(rt, "recipients") {
				domain := rapid.SampledFrom([]string{"here.test", "far.test", "other.test"}).Draw(rt, "domain")
				a := fmt.Sprintf("m%dr%d@%s", m, r, domain)
				plans[a] = plan{rapid.IntRange(0, 4).Draw(rt, "deferrals"), rapid.Bool().Draw(rt, "fails")}
				to = append(to, a)
			}
			messages = append(messages, to)
		}
		down := map[string][]bool{}
		for _, domain := range []string{"far.test", "other.test"} {
			down[domain] = rapid.SliceOfN(rapid.Bool(), 0, 8).Draw(rt, "down "+domain)
		}
		restarts := rapid.SliceOfN(rapid.IntRange(0, 3600), 0, 3).Draw(rt, "restarts")
		var wishes []wish
		for range rapid.IntRange(0, 6).Draw(rt, "wishes") {
			wishes = append(wishes, wish{
				rapid.IntRange(0, len(messages)-1).Draw(rt, "of"), rapid.SampledFrom([]int{0, 1, 30, 300, 3000}).Draw(rt, "after"),
				rapid.SampledFrom([]string{control.Hold, control.Release, control.Retry, control.Bounce, control.Remove}).Draw(rt, "op"),
			})
		}
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = live(t, plans, messages, down, restarts, wishes) })
		if len(wrong) > 0 {
			rt.Fatalf("%s", strings.Join(wrong, "\n"))
		}
	})
}

// live lets messages live to their end, with restarts after so many seconds each and wishes between them, and says what
// went wrong. Down says of each attempt at a domain whether it finds the site down: then no recipient is tried.
func live(t *testing.T, plans map[string]plan, messages [][]string, down map[string][]bool, restarts []int, wishes []wish) (wrong []string) {
	w := newWorld(t)
	tries := map[string]int{}
	step := func(a mta.Address) mta.Outcome { // called under a lock
		p, ok := plans[a.String()]
		tries[a.String()]++
		switch {
		case !ok:
			return mta.Outcome{Status: mta.Delivered}
		case tries[a.String()] <= p.deferrals:
			return mta.Outcome{Code: 451}
		case p.fail:
			return mta.Outcome{Status: mta.Failed, Code: 550, Text: "no " + a.String()}
		}
		return mta.Outcome{Status: mta.Delivered}
	}
	w.local.do = func(r local.Request) mta.Outcome { return step(r.DeliveredTo) }
	w.remote.do = func(_ context.Context, t runner.Transaction) (out []mta.Outcome) {
		w.local.mu.Lock()
		defer w.local.mu.Unlock()
		for _, r := range t.Rcpts {
			out = append(out, step(r.Address))
		}
		return out
	}
	w.remote.down = func(t runner.Transaction) bool {
		w.local.mu.Lock()
		defer w.local.mu.Unlock()
		list := down[t.Dest.Domain]
		if len(list) == 0 {
			return false
		}
		down[t.Dest.Domain] = list[1:]
		return list[0]
	}
	w.begin()
	var ids []mta.ID
	for _, to := range messages {
		ids = append(ids, w.send("alice@here.test", to...))
	}
	grant := func(n int) {
		for _, x := range wishes[:min(n, len(wishes))] {
			time.Sleep(time.Duration(x.after) * time.Second)
			_ = w.change(ids[x.message], control.Change{Op: x.op, Reason: x.op + " by the operator"}) // it may be busy, gone, held or not held
		}
		wishes = wishes[min(n, len(wishes)):]
	}
	grant(2)
	for _, s := range restarts {
		time.Sleep(time.Duration(s) * time.Second)
		if err := w.end(); err != nil {
			wrong = append(wrong, err.Error())
		}
		w.begin()
		<-w.ready
		grant(2)
	}
	grant(len(wishes))
	for _, id := range ids {
		_ = w.change(id, control.Change{Op: control.Release})
	}
	w.until("finished", 10*24*time.Hour, w.idle)
	w.close()
	reports := strings.Join(w.local.of("alice@here.test"), "\n")
	delivered, failed := strings.Join(w.log.named("delivered"), "\n"), w.log.named("failed")
	for a, p := range plans {
		var ends []string
		if n := strings.Count(delivered, " to=<"+a+"> "); n > 0 {
			ends = slices.Repeat([]string{"delivered"}, n)
		}
		for _, line := range failed {
			if strings.Contains(line, " to=<"+a+"> ") {
				ends = append(ends, line)
			}
		}
		end := strings.Join(ends, "; ")
		if len(ends) != 1 {
			wrong = append(wrong, fmt.Sprintf("%s has %d ends: %s", a, len(ends), end))
		}
		ordered := strings.Contains(end, "by the operator")
		if tries[a] > p.deferrals+1 || !ordered && tries[a] != p.deferrals+1 {
			wrong = append(wrong, fmt.Sprintf("%s: %d tries, want %d, or less until %s", a, tries[a], p.deferrals+1, end))
		}
		if !ordered && p.fail != (end != "delivered") {
			wrong = append(wrong, fmt.Sprintf("%s: the end is %s; fails: %v", a, end, p.fail))
		}
		want := 0
		if end != "delivered" && !strings.Contains(end, "remove by the operator") {
			want = 1
		}
		if told := strings.Count(reports, "Final-Recipient: rfc822; "+a+"\r\n"); told != want {
			wrong = append(wrong, fmt.Sprintf("%s: reported %d times, want %d: %s", a, told, want, end))
		}
	}
	return wrong
}
