package runner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

// plan is what happens to a recipient: so many deferrals, then the end.
type plan struct {
	deferrals int
	fail      bool
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
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = live(t, plans, messages, down, restarts) })
		if len(wrong) > 0 {
			rt.Fatalf("%s", strings.Join(wrong, "\n"))
		}
	})
}

// live lets messages live to their end, with restarts after so many seconds each, and says what went wrong. Down says of
// each attempt at a domain whether it finds the site down: then no recipient is tried.
func live(t *testing.T, plans map[string]plan, messages [][]string, down map[string][]bool, restarts []int) (wrong []string) {
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
	for _, to := range messages {
		w.send("alice@here.test", to...)
	}
	for _, s := range restarts {
		time.Sleep(time.Duration(s) * time.Second)
		if err := w.end(); err != nil {
			wrong = append(wrong, err.Error())
		}
		w.begin()
		<-w.ready
	}
	w.until("finished", 10*24*time.Hour, w.idle)
	w.close()
	reports := strings.Join(w.local.of("alice@here.test"), "\n")
	for a, p := range plans {
		if tries[a] != p.deferrals+1 {
			wrong = append(wrong, fmt.Sprintf("%s: %d tries, want %d", a, tries[a], p.deferrals+1))
		}
		told := strings.Count(reports, "Final-Recipient: rfc822; "+a+"\r\n")
		if p.fail && told != 1 || !p.fail && told != 0 {
			wrong = append(wrong, fmt.Sprintf("%s: reported %d times, fails: %v", a, told, p.fail))
		}
	}
	return wrong
}
