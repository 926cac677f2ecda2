package runner_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// actions shows the recipients and actions of reports, in their order.
func actions(reports []string) (out []string) {
	for _, r := range reports {
		for group := range strings.SplitSeq(r, "\r\n\r\n") {
			_, to, ok := strings.Cut("\r\n"+group, "\r\nFinal-Recipient: rfc822; ")
			_, what, found := strings.Cut(group, "\r\nAction: ")
			if ok && found {
				to, _, _ = strings.Cut(to, "\r\n")
				what, _, _ = strings.Cut(what, "\r\n")
				out = append(out, what+" "+to)
			}
		}
	}
	return out
}

func (w *world) expectActions(want ...string) {
	w.t.Helper()
	if got := actions(w.local.of("alice@here.test")); !slices.Equal(got, want) {
		w.t.Errorf("reports: got %q, want %q\n%s", got, want, w.log)
	}
}

func from(sender string, rcpts ...mta.Recipient) *mta.Envelope {
	return &mta.Envelope{Role: mta.RoleSubmission, Sender: address(sender), Rcpts: rcpts}
}

func to(a, notify string) mta.Recipient { return mta.Recipient{Address: address(a), Notify: notify} }

func TestSenderIsToldOnceThatAMessageIsLate(t *testing.T) {
	for _, c := range []struct {
		notify, sender string
		notice         time.Duration
		late           bool
	}{
		{"", "alice@here.test", 4 * time.Hour, true},
		{"DELAY", "alice@here.test", 4 * time.Hour, true},
		{"", "alice@here.test", 0, false},
		{"FAILURE", "alice@here.test", 4 * time.Hour, false},
		{"NEVER", "alice@here.test", 4 * time.Hour, false},
		{"", "", 4 * time.Hour, false},
		{"", "alice@here.test", 6 * 24 * time.Hour, false}, // it fails before that
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.set.DelayNotice = c.notice
			w.remote.do = busy
			w.begin()
			start := time.Now()
			id := w.commit(from(c.sender, to("bob@far.test", c.notify), to("carol@other.test", c.notify)))
			w.until("tried for an hour", 2*time.Hour, func() bool { return time.Since(start) > time.Hour })
			w.expectActions()
			w.end()
			w.begin() // what has been told lasts
			time.Sleep(time.Until(start.Add(4*time.Hour - time.Minute)))
			w.expectActions()
			time.Sleep(2 * time.Minute) // it does not wait for the next attempt
			synctest.Wait()
			want := []string{"delayed bob@far.test", "delayed carol@other.test"}
			if !c.late {
				want = nil
			}
			w.expectActions(want...)
			w.end()
			w.begin()
			time.Sleep(3 * time.Hour)
			w.expectActions(want...)
			if got := w.log.named("reported"); c.late != slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "id="+string(id.Child('D', 0))+" ") }) {
				t.Errorf("%+v: reported events: %q", c, got)
			}
			w.close()
		})
	}
}

func TestReportOfDelaySaysHowLongItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.DelayNotice = time.Hour
		w.remote.do = busy
		w.begin()
		defer w.close()
		end := time.Now().Add(w.set.Lifetime)
		w.send("alice@here.test", "bob@far.test")
		w.until("told", 3*time.Hour, func() bool { return len(w.local.of("alice@here.test")) == 1 })
		got := w.local.of("alice@here.test")[0]
		for _, want := range []string{"Will-Retry-Until: " + end.Format(time.RFC1123Z), "Status: 4.7.1", "mx.far.test said: 451 4.7.1 come back later"} {
			if !strings.Contains(got, want) {
				t.Errorf("the report lacks %q:\n%s", want, got)
			}
		}
	})
}

func TestSuccessIsReportedWhereAskedFor(t *testing.T) {
	taken := func(dsn bool) func(context.Context, runner.Transaction) []mta.Outcome {
		return func(_ context.Context, t runner.Transaction) []mta.Outcome {
			return all(t, mta.Outcome{Status: mta.Delivered, Code: 250, Host: "mx.far.test", DSN: dsn, Final: t.Dest.Domain == "lmtp.test"})
		}
	}
	for _, c := range []struct {
		what string
		dsn  bool
		env  *mta.Envelope
		want []string
	}{
		{"not asked for", false, from("alice@here.test", to("bob@far.test", ""), to("dora@here.test", "FAILURE,DELAY")), nil},
		{"never", false, from("alice@here.test", to("bob@far.test", "NEVER")), nil},
		{"null sender", false, from("", to("bob@far.test", "SUCCESS"), to("dora@here.test", "SUCCESS")), nil},
		{"mailbox", false, from("alice@here.test", to("dora@here.test", "SUCCESS")), []string{"delivered dora@here.test"}},
		{"LMTP", false, from("alice@here.test", to("bob@lmtp.test", "SUCCESS")), []string{"delivered bob@lmtp.test"}},
		{"next host", false, from("alice@here.test", to("bob@far.test", "SUCCESS,FAILURE")), []string{"relayed bob@far.test"}},
		{"next host with DSN", true, from("alice@here.test", to("bob@far.test", "SUCCESS")), nil},
		{"all at once", false, from("alice@here.test", to("dora@here.test", "SUCCESS"), to("x@far.test", "SUCCESS"), to("gone@here.test", "")),
			[]string{"failed gone@here.test", "delivered dora@here.test", "relayed x@far.test"}},
		{"alias of several", false, from("alice@here.test", to("list@here.test", "SUCCESS,FAILURE")), []string{"failed gone@here.test", "expanded list@here.test"}},
		{"alias of several, success only", false, from("alice@here.test", to("list@here.test", "SUCCESS")), []string{"expanded list@here.test"}},
		{"alias of one", false, from("alice@here.test", to("one@here.test", "SUCCESS")), []string{"delivered dora@here.test"}},
		{"alias of one elsewhere", false, from("alice@here.test", to("away@here.test", "SUCCESS")), []string{"relayed x@far.test"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.remote.do = taken(c.dsn)
				w.router.gone["gone@here.test"] = true
				w.router.aliases["list@here.test"] = []string{"dora@here.test", "gone@here.test", "x@far.test"}
				w.router.aliases["one@here.test"] = []string{"dora@here.test"}
				w.router.aliases["away@here.test"] = []string{"x@far.test"}
				w.begin()
				w.commit(c.env)
				w.until("finished", time.Hour, w.idle)
				w.end()
				w.begin()
				time.Sleep(time.Hour)
				w.expectActions(c.want...)
				if got := len(w.local.of("alice@here.test")); got > 1 {
					t.Errorf("got %d reports, want one", got)
				}
				w.close()
			})
		})
	}
}

func TestDeliveryThatIsReportedIsMadeToLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var sync []bool
		w.local.do = func(r local.Request) mta.Outcome {
			sync = append(sync, r.Sync)
			return mta.Outcome{Status: mta.Delivered}
		}
		w.begin()
		defer w.close()
		w.commit(from("bob@far.test", to("dora@here.test", "SUCCESS"), to("emil@here.test", ""), to("fritz@here.test", "FAILURE")))
		w.until("finished", time.Hour, w.idle)
		if want := []bool{true, false, false}; !slices.Equal(sync, want) {
			t.Errorf("got Sync %v, want %v", sync, want)
		}
	})
}

func TestMembersOfAnAliasKeepWhatTheSenderWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.router.aliases["list@here.test"] = []string{"x@far.test", "y@far.test"}
		w.router.aliases["one@here.test"] = []string{"z@far.test"}
		w.begin()
		defer w.close()
		w.commit(from("alice@here.test", to("list@here.test", "SUCCESS,FAILURE")))
		w.commit(from("alice@here.test", mta.Recipient{Address: address("one@here.test"), Notify: "SUCCESS", ORcpt: "rfc822;first+2B@home.test"}))
		w.until("finished", time.Hour, w.idle)
		got := map[string]string{}
		w.remote.mu.Lock()
		defer w.remote.mu.Unlock()
		for _, g := range w.remote.got {
			for _, r := range g.Rcpts {
				got[r.Address.String()] = r.Notify + " " + r.ORcpt
			}
		}
		want := map[string]string{"x@far.test": "FAILURE rfc822;list@here.test", "y@far.test": "FAILURE rfc822;list@here.test", "z@far.test": "SUCCESS rfc822;first+2B@home.test"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestMessageLeavesWhenItsSenderWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.DelayNotice, w.set.Lifetime = time.Hour, 2*time.Hour
		w.begin()
		release := time.Now().Add(3 * time.Hour) // longer than a message is tried
		e := from("alice@here.test", to("bob@far.test", ""), to("dora@here.test", ""))
		e.ReleaseAt = release
		w.commit(e)
		time.Sleep(time.Hour)
		w.end()
		w.begin()
		time.Sleep(time.Until(release) - time.Minute)
		if n := len(w.remote.tries()) + len(w.local.of("dora@here.test")); n != 0 {
			t.Errorf("%d deliveries before its time", n)
		}
		w.expectActions()
		if held := w.log.named("held"); len(held) != 1 || !strings.Contains(held[0], "until="+release.Format("2006-01-02 15:04:05")) {
			t.Errorf("held events: %q", held)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(w.remote.tries()) != 1 || len(w.local.of("dora@here.test")) != 1 {
			t.Errorf("not delivered at its time:\n%s", w.log)
		}
		w.close()
	})
}

func TestHeldMessageWaitsForTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.DelayNotice, w.set.Lifetime = time.Hour, 2*time.Hour
		w.begin()
		e := from("alice@here.test", to("bob@far.test", ""))
		e.Hold = "looks like spam"
		w.commit(e)
		time.Sleep(3 * time.Hour)
		w.end()
		w.begin()
		<-w.ready
		if len(w.remote.tries()) != 0 || len(w.store.Outstanding()) != 1 {
			t.Errorf("a held message was tried, or is gone:\n%s", w.log)
		}
		if held := w.log.named("held"); len(held) != 1 || !strings.Contains(held[0], "reason=looks like spam") {
			t.Errorf("held events: %q", held)
		}
		w.expectActions()
		w.store.Hold(w.store.Outstanding()[0], "") // released
		w.end()
		w.begin() // long after its time: there is one try, and the sender is told
		w.until("finished", time.Hour, w.idle)
		if len(w.remote.tries()) != 1 {
			t.Errorf("%d tries after the release", len(w.remote.tries()))
		}
		w.close()
	})
}

func TestDeadlineReturnsTheMessageOrTellsTheSender(t *testing.T) {
	for _, c := range []struct {
		what, mode string
		left       time.Duration
		held       bool // the next host never answers
		want       string
		after      time.Duration
		tries      bool
	}{
		{"return", "R", time.Hour, false, "failed bob@far.test", time.Hour, true},
		{"return, over when it came", "R", -time.Second, false, "failed bob@far.test", 0, false},
		{"notice", "N", time.Hour, false, "delayed bob@far.test", time.Hour, true},
		{"notice, over when it came", "NT", -time.Second, false, "delayed bob@far.test", 0, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.set.DelayNotice = 2 * time.Hour
				w.remote.do = busy
				w.begin()
				e := from("alice@here.test", to("bob@far.test", ""))
				e.DeliverBy = &mta.DeliverBy{At: time.Now().Add(c.left), Mode: c.mode}
				w.commit(e)
				if c.after > 0 {
					time.Sleep(c.after - time.Minute)
					w.expectActions()
					w.end()
					w.begin()
					time.Sleep(time.Minute)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				w.expectActions(c.want)
				tries := len(w.remote.tries())
				if tries > 0 != c.tries {
					t.Errorf("%d tries", tries)
				}
				time.Sleep(3 * time.Hour)
				w.expectActions(c.want)
				if more := len(w.remote.tries()) > tries; more != (c.mode[0] == 'N') {
					t.Errorf("tried on: %v", more)
				}
				if r := strings.Join(w.local.of("alice@here.test"), ""); c.mode == "R" && !strings.Contains(r, "by the time that you\r\nhad set") && !strings.Contains(strings.Join(strings.Fields(r), " "), "by the time that you had set") {
					t.Errorf("the report does not say why:\n%s", r)
				}
				w.close()
			})
		})
	}
}

func TestDeadlineThatTheNextHostDoesNotTakeOverIsReported(t *testing.T) {
	for _, c := range []struct {
		mode, notify string
		by           bool
		want         []string
	}{
		{"N", "", false, []string{"relayed bob@far.test"}},
		{"N", "NEVER", false, nil},
		{"N", "", true, nil},
		{"RT", "", true, []string{"relayed bob@far.test"}},
		{"R", "", true, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
				return all(t, mta.Outcome{Status: mta.Delivered, Code: 250, Host: "mx.far.test", DSN: true, By: c.by})
			}
			w.begin()
			defer w.close()
			e := from("alice@here.test", to("bob@far.test", c.notify))
			e.DeliverBy = &mta.DeliverBy{At: time.Now().Add(time.Hour), Mode: c.mode}
			w.commit(e)
			w.until("finished", 10*time.Minute, w.idle)
			w.expectActions(c.want...)
		})
	}
}

func TestManyRecipientsAreReportedInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = refuse
		w.begin()
		defer w.close()
		e := from("alice@here.test")
		for i := range 1100 {
			e.Rcpts = append(e.Rcpts, to(fmt.Sprintf("u%d@far.test", i), ""))
		}
		w.commit(e)
		w.until("finished", time.Hour, w.idle)
		got := actions(w.local.of("alice@here.test"))
		slices.Sort(got)
		if n := len(slices.Compact(got)); len(w.local.of("alice@here.test")) != 3 || n != 1100 {
			t.Errorf("got %d reports about %d recipients, want 3 about 1100", len(w.local.of("alice@here.test")), n)
		}
	})
}

var _ runner.Store = (*spool.Store)(nil)
