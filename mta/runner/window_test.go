package runner

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestWindowStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ceiling := rapid.IntRange(1, 50).Draw(t, "ceiling")
		x := &site{window: newWindow(), index: -1, batch: map[*item]*batch{}}
		now := time.Unix(0, 0)
		for _, ok := range rapid.SliceOfN(rapid.Bool(), 1, 300).Draw(t, "outcomes") {
			x.busy = rapid.IntRange(0, x.ceiling(ceiling)).Draw(t, "busy")
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "seconds")) * time.Second)
			if ok {
				x.success(now, ceiling)
			} else {
				x.failure(now, x.rounds-rapid.IntRange(0, 2).Draw(t, "missed"), mta.Outcome{})
			}
			if c := x.ceiling(ceiling); c < 1 || c > ceiling {
				t.Fatalf("window %d, want 1 to %d", c, ceiling)
			}
			if x.dead && x.until.Sub(now) > lastBack {
				t.Fatalf("left alone for %v, want %v at most", x.until.Sub(now), lastBack)
			}
			if ok && x.dead {
				t.Fatal("dead after a success")
			}
		}
	})
}

func TestWindowFindsWhatTheOtherEndStands(t *testing.T) {
	const stands, ceiling = 7, 50
	x := &site{window: newWindow(), index: -1}
	now, most, sum, rounds := time.Unix(0, 0), 0, 0, 300
	for range rounds {
		n := x.ceiling(ceiling)
		most, sum = max(most, n), sum+n
		seen := x.rounds
		for i := range n {
			x.busy = n - i - 1
			if i < stands {
				x.success(now, ceiling)
			} else {
				x.failure(now, seen, mta.Outcome{})
			}
		}
		now = now.Add(time.Second)
	}
	if mean := sum / rounds; mean < 4 || mean > 10 || most > 2*stands+1 {
		t.Errorf("of %d that it stands: %d on average, %d at most", stands, mean, most)
	}
	x = &site{window: newWindow(), index: -1}
	for n := 0; x.ceiling(ceiling) < ceiling; n++ {
		if x.success(now, ceiling); n > ceiling {
			t.Fatalf("window %d after %d successes, want %d", x.ceiling(ceiling), n, ceiling)
		}
	}
}

func TestDeadSiteIsLeftAloneForLongerEachTime(t *testing.T) {
	x := &site{window: newWindow(), index: -1}
	now := time.Unix(0, 0)
	reason := mta.Outcome{Code: 451, Enhanced: "4.4.1", Text: "mx: cannot be reached", Host: "mx"}
	var waits []time.Duration
	for range 8 {
		if !x.failure(now, x.rounds, reason) || !x.closed(now) {
			t.Fatal("alive, though nothing else is under way and it has never worked")
		}
		waits = append(waits, x.until.Sub(now).Round(6*time.Second))
		now = x.until
		if x.closed(now) || x.ceiling(20) != 1 {
			t.Fatalf("at the end of its time: closed %v, %d at once; want one trial", x.closed(now), x.ceiling(20))
		}
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		if want *= time.Minute; waits[i] > want || waits[i] < want*9/10 {
			t.Errorf("left alone for %v, want 90 to 100 %% of %v", waits[i], want)
		}
	}
	if o := x.suspended(); o.Text != "not tried: mx: cannot be reached" || o.Host != "" || o.Enhanced != "4.4.1" {
		t.Errorf("the reason is %+v", o)
	}
	if !x.success(now, 20) || x.ceiling(20) != 2 || x.closed(now) {
		t.Errorf("after a success: %d at once, want 2", x.ceiling(20))
	}
}

// A site that has worked a moment ago, or has others under way, is not dead for one connection that it refuses.
func TestOneFailureAmongSuccessesKillsNobody(t *testing.T) {
	x := &site{window: newWindow(), index: -1}
	now := time.Unix(1000, 0)
	x.success(now, 20)
	for range 20 {
		if x.failure(now, 0, mta.Outcome{}) {
			t.Error("dead after failures that began together")
		}
	}
	if now = now.Add(time.Second); x.failure(now, x.rounds, mta.Outcome{}) {
		t.Error("dead after two failures")
	}
	if now = now.Add(time.Second); !x.failure(now, x.rounds, mta.Outcome{}) {
		t.Error("alive after three failures in a row")
	}
	x = &site{window: newWindow(), index: -1, busy: 3}
	if x.failure(now, x.rounds, mta.Outcome{}) {
		t.Error("dead though three others are under way")
	}
}

func TestFairQueueStarvesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q fair[int]
		type entry struct {
			f   flow
			at  int // pops before
			seq int
		}
		in := map[int]entry{}
		last := map[flow]int{}
		ahead := map[int]int{} // what was in front of it in its flow
		pending := map[flow]int{}
		n, pops, most := 0, 0, 0
		flows := map[flow]bool{}
		step := func() {
			v, ok := q.pop()
			if !ok {
				if len(in) > 0 {
					t.Fatalf("%d are in the queue, and none comes out", len(in))
				}
				return
			}
			pops++
			e, known := in[v]
			if !known {
				t.Fatalf("%d comes out twice", v)
			}
			delete(in, v)
			pending[e.f]--
			if e.seq < last[e.f] {
				t.Fatalf("flow %v: %d after %d", e.f, e.seq, last[e.f])
			}
			last[e.f] = e.seq
			most = max(most, len(flows))
			// Each flow of its band goes first at most once a round, a round at most every so often.
			if bound := (ahead[v] + 2) * (len(flows) + 2) * every * every * 19; pops-e.at > bound {
				t.Fatalf("%v waited for %d others, want %d at most", e.f, pops-e.at, bound)
			}
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "do") < 2 {
				f := flow{fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "who")), rapid.SampledFrom([]int{-3, 0, 0, 0, 5}).Draw(t, "priority")}
				flows[f] = true
				n++
				in[n] = entry{f, pops, n}
				ahead[n] = pending[f]
				pending[f]++
				q.push(f, n)
			} else {
				step()
			}
			if q.size != len(in) {
				t.Fatalf("size %d, want %d", q.size, len(in))
			}
		}
		for len(in) > 0 {
			step()
		}
	})
}

func TestLetterGoesBeforeAMailing(t *testing.T) {
	var q fair[string]
	for range 50000 {
		q.push(flow{"list@a.test", 0}, "mailing")
	}
	for range 100 {
		q.pop()
	}
	q.push(flow{"bob@b.test", 0}, "letter")
	for n := 1; ; n++ {
		if v, _ := q.pop(); v == "letter" {
			break
		}
		if n > 4 {
			t.Fatal("the letter is still waiting")
		}
	}
	q.push(flow{"list@a.test", 9}, "urgent")
	for n := 1; ; n++ {
		if v, _ := q.pop(); v == "urgent" {
			break
		}
		if n > 2 {
			t.Fatal("what is urgent is still waiting")
		}
	}
}

func TestSendersOfOneMailingAreOneFlow(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"bounces+1-bob=far.test@list.test", "bounces+2-eve=far.test@list.test", true},
		{"SRS0=aa=bb=x.test=u@here.test", "SRS0=cc=dd=y.test=v@here.test", true},
		{"msg-00012345-abc@list.test", "msg-00099999-def@list.test", true},
		{"alice@here.test", "bob@here.test", false},
		{"u12@here.test", "u13@here.test", false},
		{"alice@here.test", "alice@there.test", false},
	} {
		f := func(s string) flow {
			a, err := mta.ParseAddress(s)
			if err != nil {
				t.Fatal(err)
			}
			return flowOf(&mta.Envelope{Sender: a})
		}
		if got := f(c.a) == f(c.b); got != c.same {
			t.Errorf("%s and %s: one flow %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if flowOf(&mta.Envelope{Login: "alice"}) == flowOf(&mta.Envelope{Login: "bob"}) {
		t.Error("two logins are one flow")
	}
}
