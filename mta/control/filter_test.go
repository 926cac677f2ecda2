package control

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{strings.Repeat("*a", 100), strings.Repeat("a", 99), false}, // would take ages with backtracking of each star
		{"", "", true}, {"", "x", false}, {"*", "", true}, {"*", "x", true}, {"a*", "b", false},
		{"*@far.test", "X@FAR.test", true}, {"*@far.test", "x@far.test.org", false}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbY", false},
		{"x@far.test", "x@far.test", true}, {"x@far.test", "xx@far.test", false}, {"**", "ab", true},
	} {
		if got := match(c.pattern, c.s); got != c.want {
			t.Errorf("match(%q, %q): got %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

func TestFiltersThatAreNotUnderstoodAreRefused(t *testing.T) {
	for _, q := range []string{"form=x", "status=lost", "older=soon", "older=-1h", "from=a&from=b", "to=" + strings.Repeat("a", 300)} {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := ParseFilter(v); err == nil {
			t.Errorf("%s: got %+v, want an error", q, f)
		}
	}
	want := Filter{From: "<>", To: "*@x", Domain: "x", Reply: "a b&c", Status: StatusHeld, Older: 36 * time.Hour}
	if got, err := ParseFilter(want.Values()); err != nil || got != want {
		t.Errorf("there and back: got %+v, %v; want %+v", got, err, want)
	}
}

func TestFilterTakesWhatItSays(t *testing.T) {
	now := time.Now()
	m := Message{Arrived: now.Add(-time.Hour), Sender: "", Status: StatusDeferred, Why: "busy", Rcpts: []Rcpt{
		{Address: "a@one.test", State: rcptWaiting, Reply: "450 4.7.1 Greylisted"},
		{Address: "b@two.test", State: rcptDone, Reply: "250 ok"},
	}}
	for _, c := range []struct {
		f    Filter
		want bool
	}{
		{Filter{Domain: "two.test"}, false}, // that recipient is done
		{Filter{Domain: "one.test", Reply: "250"}, false},
		{Filter{From: "*"}, false}, // the null sender is no address
		{Filter{Older: 2 * time.Hour}, false},
		{Filter{Domain: "one.test", Reply: "busy"}, false}, // the reason is not that recipient's
		{Filter{}, true}, {Filter{From: "<>"}, true}, {Filter{Reply: "GREYLIST"}, true}, {Filter{Reply: "busy"}, true},
		{Filter{Older: time.Hour, Status: StatusDeferred, To: "a@*", Domain: "*.test"}, true},
	} {
		if got := c.f.accepts(&m, now); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.f, got, c.want)
		}
	}
}
