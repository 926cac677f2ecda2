package runner_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

func TestMetricsCountWhatBecomesOfMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(mta.NewID(time.Now()).Time())) // ids go on from where the clocks of other tests have been
		w := newWorld(t)
		w.set.Metrics = runner.NewMetrics()
		w.set.Publish = func(mta.QueueStatus) error { return nil }
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(w.set.Metrics)
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			o := mta.Outcome{Status: mta.Deferred, Code: 450, Host: "mx"}
			switch t.Rcpts[0].Address.Local {
			case "good":
				o = mta.Outcome{Status: mta.Delivered, Host: "mx"}
			case "bad":
				o = mta.Outcome{Status: mta.Failed, Code: 550, Host: "mx"}
			}
			return all(t, o)
		}
		w.begin()
		defer w.close()
		synctest.Wait()
		w.send("a@here.test", "bob@here.test", "good@far.test", "bad@near.test")
		w.send("a@here.test", "slow@far.test")
		w.commit(&mta.Envelope{Role: mta.RoleSubmission, Sender: address("a@here.test"), Rcpts: []mta.Recipient{{Address: address("late@far.test")}},
			ReleaseAt: time.Now().Add(48 * time.Hour)})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, c := range []struct {
			name   string
			want   float64
			labels []string
		}{
			{"posthouse_queue_recipients_total", 2, []string{"local", "delivered"}}, // bob, and the report to a
			{"posthouse_queue_recipients_total", 1, []string{"remote", "delivered"}},
			{"posthouse_queue_recipients_total", 1, []string{"remote", "failed"}},
			{"posthouse_queue_recipients_total", 1, []string{"remote", "deferred"}},
			{"posthouse_queue_delivery_seconds", 1, []string{"remote"}},
			{"posthouse_queue_reports_total", 1, []string{"failed"}},
			{"posthouse_queue_messages_finished_total", 2, nil},
			{"posthouse_queue_transaction_seconds", 3, nil},
			{"posthouse_queue_messages", 1, []string{"0-5m", "deferred"}},
			{"posthouse_queue_messages", 1, []string{"0-5m", "later"}},
			{"posthouse_queue_messages", 0, []string{"0-5m", "new"}},
			{"posthouse_queue_stalled", 0, nil},
		} {
			if got := mtatest.Value(t, r, c.name, c.labels...); got != c.want {
				t.Errorf("%s %v: got %v, want %v\n%s", c.name, c.labels, got, c.want, w.log)
			}
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		messages, oldest := 0.0, 0.0
		for _, status := range []string{"new", "active", "deferred", "waiting"} { // wherever its next try has just got to
			messages += mtatest.Value(t, r, "posthouse_queue_messages", "1h-4h", status)
			oldest = max(oldest, mtatest.Value(t, r, "posthouse_queue_oldest_seconds", status))
		}
		if messages != 1 || oldest < 7200 || oldest > 7400 {
			t.Errorf("two hours later: got %v messages, the oldest of %v s; want one, of two hours", messages, oldest)
		}
	})
}

func TestHealthSaysThatTheSpoolRefusesSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		defer w.close()
		<-w.ready
		if err := w.runner.Health(t.Context()); err != nil {
			t.Errorf("got %v, want all well", err)
		}
		w.send("a@here.test", "bob@here.test")
		w.faults.set(errors.New("no disk"), errors.New("no disk"))
		time.Sleep(5 * time.Second)
		if err := w.runner.Health(t.Context()); err == nil {
			t.Errorf("got no fault while the disk has one:\n%s", w.log)
		}
		w.faults.set(nil, nil)
		time.Sleep(5 * time.Second)
		if err := w.runner.Health(t.Context()); err != nil {
			t.Errorf("got %v once the disk is well", err)
		}
	})
}
