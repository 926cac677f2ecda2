package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/control"
)

func queuedAt(now time.Time, age time.Duration, size int64, status, from string, to ...string) *control.Message {
	m := &control.Message{Arrived: now.Add(-age), Sender: from, Size: size, Status: status}
	for _, a := range to {
		state := "waiting"
		if strings.HasPrefix(a, "done@") {
			state = "done"
		}
		m.Rcpts = append(m.Rcpts, control.Rcpt{Address: a, State: state})
	}
	return m
}

func TestStatCountsMessagesByDomainAndAge(t *testing.T) {
	now := time.Now()
	messages := []*control.Message{
		queuedAt(now, -time.Minute, 1, "new", "", "x@one.test"), // the clock went back
		queuedAt(now, 5*time.Minute-1, 1, "deferred", "a@from.test", "x@ONE.test", "y@one.test"),
		queuedAt(now, 5*time.Minute, 1<<10, "deferred", "a@from.test", "x@one.test", "y@two.test", "done@three.test"),
		queuedAt(now, 100*time.Hour, 1, "held", "a@\x1b[2J.test", "x@\x1b[2J.test"),
	}
	count := func(senders bool) *stat {
		s := &stat{senders: senders, now: now, status: map[string]int{}, domains: map[string]*tally{}}
		for _, m := range messages {
			if err := s.message(m); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	var b bytes.Buffer
	count(false).table(&b, 2)
	want := []string{
		"DOMAIN                            ALL   <5m  <15m  <30m   <1h   <2h   <4h   <8h   <1d   <3d  more    SIZE",
		"all                                 4     2     1     0     0     0     0     0     0     0     1    1.0K",
		"one.test                            3     2     1     0     0     0     0     0     0     0     0    1.0K",
		"?[2j.test                           1     0     0     0     0     0     0     0     0     0     1       1",
		"and 1 more domain; --top 0 shows all",
		"4 messages: 1 new, 2 deferred, 1 held; the oldest came in 4d ago",
		"",
	}
	if got := b.String(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	b.Reset()
	if err := count(true).json(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Bounds  []int
		Total   tally
		Status  map[string]int
		Oldest  time.Time
		Domains []struct {
			Domain   string
			Messages int
			Ages     []int
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(got.Domains); s != "[{from.test 2 [1 1 0 0 0 0 0 0 0 0]} {\x1b[2j.test 1 [0 0 0 0 0 0 0 0 0 1]} {<> 1 [1 0 0 0 0 0 0 0 0 0]}]" ||
		len(got.Bounds) != 9 || got.Bounds[0] != 300 || got.Total.Messages != 4 || got.Status["held"] != 1 || !got.Oldest.Equal(messages[3].Arrived) {
		t.Errorf("got %+v", got)
	}
}

func TestStatOfAnEmptyQueueAndWrongFlags(t *testing.T) {
	conf, _, _ := queueOf(t, 0)
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"queue", "stat", "-c", conf}, 0, "the queue is empty\n"},
		{[]string{"queue", "stat", "-c", conf, "--json"}, 0, `"total":{"messages":0,"octets":0,"ages":[0,0,0,0,0,0,0,0,0,0]},"status":{},"domains":[]}`},
		{[]string{"queue", "stat", "-c", conf, "--top=-1"}, 64, ""},
		{[]string{"queue", "stat", "-c", conf, "--status=lost"}, 64, ""},
	} {
		var out, errOut bytes.Buffer
		if code := execute(t.Context(), c.args, strings.NewReader(""), &out, &errOut); code != c.code || !strings.Contains(out.String(), c.out) {
			t.Errorf("%q: got %d, %q, %q; want %d, %q", c.args, code, &out, &errOut, c.code, c.out)
		}
	}
}

func TestDestinationsInTroubleComeFirst(t *testing.T) {
	conf, p, _ := queueOf(t, 0)
	now := time.Now()
	p.dests = []control.Destination{
		{Name: "(local)", State: "up", Window: 8},
		{Name: "dead.test", Domains: []string{"dead.test"}, State: "dead", Reason: "mx said: 421 \x1bgone", Waiting: 3, Until: now.Add(10*time.Minute + 30*time.Second)},
		{Name: "mx1.big.test|mx2.big.test tls=verify", Domains: []string{"a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"}, State: "up", Window: 20,
			Connections: 2, Queued: 5, Success: now.Add(-3*time.Hour - time.Second)},
	}
	const (
		head  = "STATE    WINDOW CONNS QUEUED WAITING  NEXT  LAST DESTINATION\n"
		dead  = "dead          0     0      0       3   10m     - dead.test\n         mx said: 421 ?gone\n"
		big   = "up           20     2      5       0     -    3h mx1.big.test|mx2.big.test tls=verify\n         for a.test, b.test, c.test, d.test, e.test and 2 more\n"
		local = "up            8     0      0       0     -     - (local)\n"
	)
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{nil, 0, head + dead + big + local},
		{[]string{"F.test"}, 0, head + big},
		{[]string{"mx2.big.test"}, 0, head + big},
		{[]string{"none.test"}, 66, ""},
		{[]string{"none.test", "--json"}, 66, "[]\n"},
		{[]string{"(local)", "--json"}, 0, `[{"name":"(local)","state":"up","window":8,"connections":0,"queued":0,"waiting":0}]` + "\n"},
	} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), append([]string{"queue", "dest", "-c", conf}, c.args...), strings.NewReader(""), &out, &errOut)
		if code != c.code || out.String() != c.out {
			t.Errorf("%q: got %d, %s%s; want %d, %s", c.args, code, &out, &errOut, c.code, c.out)
		}
	}
}
