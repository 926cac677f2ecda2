package runner_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

func busy(_ context.Context, t runner.Transaction) []mta.Outcome {
	return all(t, mta.Outcome{Code: 451, Enhanced: "4.7.1", Text: "come back later", Host: "mx.far.test"})
}

func TestIntervalsGrowQuadraticallyWithJitterUntilTheMessageExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = busy
		w.begin()
		defer w.close()
		start := time.Now()
		w.send("alice@here.test", "bob@far.test")
		w.until("finished", 6*24*time.Hour, w.idle)

		tries := w.remote.tries()
		for n := 1; n < len(tries)-1; n++ { // the last one is at the end of the message's time
			most := min(time.Duration(n*n)*w.set.RetryFirst, w.set.RetryMax)
			if got := tries[n].Sub(tries[n-1]); got < most*4/5 || got > most+time.Second {
				t.Errorf("wait %d: got %v, want %v to %v", n, got, most*4/5, most)
			}
		}
		if age := tries[len(tries)-1].Sub(start); age < w.set.Lifetime || age > w.set.Lifetime+time.Minute {
			t.Errorf("last try at the age of %v, want %v", age, w.set.Lifetime)
		}
		failed := w.log.named("failed")
		if len(failed) != 1 || !strings.Contains(failed[0], "5.4.7") || !strings.Contains(failed[0], "mx.far.test said: 451 4.7.1 come back later") {
			t.Errorf("failed events: %q", failed)
		}
		got := w.local.of("alice@here.test")
		if len(got) != 1 || !strings.Contains(got[0], "come back later") || !strings.Contains(got[0], "in all the time that was tried") {
			t.Errorf("reports to the sender: got %q, want one with the last reply", got)
		}
	})
}

func TestMessageWithNullSenderHasAShorterLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = busy
		w.begin()
		defer w.close()
		start := time.Now()
		w.send("", "bob@far.test")
		w.until("finished", 6*24*time.Hour, w.idle)
		if age := time.Since(start); age < w.set.BounceLifetime || age > w.set.BounceLifetime+time.Hour {
			t.Errorf("finished at the age of %v, want %v", age, w.set.BounceLifetime)
		}
	})
}

func TestRecipientsOfAMessageAreTriedAgainTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = busy
		w.begin()
		defer w.close()
		w.send("alice@here.test", "a@one.test", "b@two.test", "c@three.test")
		w.until("tried twice", time.Hour, func() bool { return len(w.remote.tries()) >= 6 })
		tries := w.remote.tries()
		if d := tries[5].Sub(tries[3]); d > time.Second {
			t.Errorf("second tries are %v apart", d)
		}
	})
}

func TestWaitingMessageKeepsItsTimeOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = busy
		w.begin()
		w.send("alice@here.test", "bob@far.test")
		w.until("tried twice", time.Hour, func() bool { return len(w.remote.tries()) == 2 })
		w.end()
		w.begin()
		defer w.close()
		w.until("tried again", time.Hour, func() bool { return len(w.remote.tries()) == 3 })
		tries := w.remote.tries()
		if got := tries[2].Sub(tries[1]); got < 16*time.Minute || got > 20*time.Minute {
			t.Errorf("third try %v after the second, want 16 to 20 minutes", got)
		}
	})
}

// What was put off while the clock was years ahead comes when the clock is right again.
func TestNoMessageWaitsForLongerThanATryCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = busy
		first, most := w.set.RetryFirst, w.set.RetryMax
		w.set.RetryFirst, w.set.RetryMax, w.set.Lifetime = 20*365*24*time.Hour, 20*365*24*time.Hour, 30*365*24*time.Hour
		w.begin()
		w.send("alice@here.test", "bob@far.test")
		w.until("tried", time.Hour, func() bool { return len(w.remote.tries()) == 1 })
		w.end()
		w.set.RetryFirst, w.set.RetryMax = first, most
		w.begin()
		defer w.close()
		w.until("tried again", time.Minute, func() bool { return len(w.remote.tries()) == 2 })
		w.until("and again in its turn", most, func() bool { return len(w.remote.tries()) == 3 })
	})
}
