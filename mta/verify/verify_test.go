package verify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/verify"
)

var (
	dest = mta.Destination{Domain: "far.test"}
	bob  = mta.Address{Local: "bob", Domain: "far.test"}
	good = mta.Outcome{Status: mta.Delivered, Code: 250}
	bad  = mta.Outcome{Status: mta.Failed, Code: 551, Enhanced: "5.1.6", Text: "moved"}
	down = mta.Outcome{Code: 451, Enhanced: "4.4.1", Text: "no host answers"}
)

func TestAnswersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verify.New()
		asked, says := 0, good
		probe := func(_ context.Context, d mta.Destination, a mta.Address) mta.Outcome {
			if asked++; d != dest || a != bob {
				t.Errorf("asked %v for %v", d, a)
			}
			return says
		}
		for i, c := range []struct {
			after time.Duration
			says  mta.Outcome
			asked int // in all
			want  string
		}{
			{0, good, 1, ""},
			{time.Hour, bad, 1, ""},
			{4 * time.Hour, down, 2, ""}, // it took him, and a backup is for this
			{30 * time.Second, bad, 2, ""},
			{31 * time.Second, down, 3, ""},
			{6 * 24 * time.Hour, down, 4, ""},
			{24 * time.Hour, down, 5, "450 4.4.1 The host of this domain cannot be asked for the recipient now: no host answers"},
			{2 * time.Minute, bad, 6, "550 5.1.6 The host of this domain refuses the recipient: moved"},
			{10 * time.Minute, good, 6, "550 5.1.6 The host of this domain refuses the recipient: moved"},
			{6 * time.Minute, down, 7, "450 4.4.1 The host of this domain cannot be asked for the recipient now: no host answers"},
			{2 * time.Minute, good, 8, ""},
			{5 * time.Hour, bad, 9, "550 5.1.6 The host of this domain refuses the recipient: moved"},
		} {
			time.Sleep(c.after)
			says = c.says
			r := v.Ask(t.Context(), probe, dest, bob)
			got := ""
			if r.Code != 0 {
				got = r.String()
			}
			if got != c.want || asked != c.asked {
				t.Errorf("%d: got %q after %d questions, want %q after %d", i, got, asked, c.want, c.asked)
			}
		}
	})
}

func TestManyAskOnceAndDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verify.New()
		asked := 0
		slow := func(ctx context.Context, _ mta.Destination, _ mta.Address) mta.Outcome {
			asked++
			select {
			case <-time.After(time.Minute):
				return good
			case <-ctx.Done():
				return down
			}
		}
		replies := make(chan mta.Reply)
		for range 20 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				replies <- v.Ask(ctx, slow, dest, bob)
			}()
		}
		for range 20 {
			if r := <-replies; r.Code != 450 || !strings.Contains(r.Text, "has not answered yet") {
				t.Errorf("got %v", r)
			}
		}
		time.Sleep(40 * time.Second) // the question goes on for who comes back
		if r := v.Ask(t.Context(), slow, dest, bob); r.Code != 0 || asked != 1 {
			t.Errorf("got %v after %d questions", r, asked)
		}
	})
}

func TestOneHostIsNotAskedByAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verify.New()
		never := func(ctx context.Context, _ mta.Destination, _ mta.Address) mta.Outcome {
			<-ctx.Done()
			return down
		}
		replies := make(chan mta.Reply)
		for i := range 30 {
			go func() {
				replies <- v.Ask(t.Context(), never, dest, mta.Address{Local: fmt.Sprint("user", i), Domain: "far.test"})
			}()
		}
		busy := 0
		for range 30 {
			r := <-replies
			if r.Code != 450 {
				t.Errorf("got %v", r)
			}
			if strings.Contains(r.Text, "Too many") {
				busy++
			}
		}
		if busy != 20 {
			t.Errorf("%d were told to come later, want 20", busy)
		}
		if r := v.Ask(t.Context(), func(context.Context, mta.Destination, mta.Address) mta.Outcome { return good }, dest, bob); r.Code != 0 {
			t.Errorf("afterwards: %v", r)
		}
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	v := verify.New()
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	v.Now = func() time.Time { return now }
	asked := 0
	probe := func(context.Context, mta.Destination, mta.Address) mta.Outcome { asked++; return bad }
	user := func(i int) mta.Address { return mta.Address{Local: fmt.Sprint("user", i), Domain: "far.test"} }
	v.Most = 100
	for range 2 {
		for i := range 150 {
			v.Ask(t.Context(), probe, dest, user(i))
		}
	}
	if asked < 200 {
		t.Errorf("%d questions: more than 100 answers are remembered", asked)
	}
}
