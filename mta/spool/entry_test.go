package spool

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestParseEntryRefuses(t *testing.T) {
	for _, s := range []string{
		``, `{`, `[]`, `null`, `"x"`, `{}`,
		`{"id":"../../../etc/pas","r":0,"n":1,"state":"delivered"}`,
		`{"id":"` + string(idA) + `"}`,
		`{"id":"` + string(idA) + `","r":0,"n":1}`,
		`{"id":"` + string(idA) + `","r":0,"n":1,"state":"done"}`,
		`{"id":"` + string(idA) + `","r":-1,"n":1,"state":"failed"}`,
		`{"id":"` + string(idA) + `","r":0,"n":0,"state":"failed"}`,
		`{"id":"` + string(idA) + `","r":0,"n":-1,"state":"failed"}`,
		`{"id":"` + string(idA) + `","r":0,"n":1,"state":"expanded","base":-1}`,
		`{"id":"` + string(idA) + `","r":0,"n":1,"state":"expanded","base":1,"members":[{"address":"no address"}]}`,
		`{"id":"` + string(idA) + `","r":99999999999999999999,"n":1,"state":"failed"}`,
		`{"id":"` + string(idA) + `","r":0,"reported":[0,-1]}`,
		`{"id":"` + string(idA) + `","r":0,"reported":["a"]}`,
		`{"id":"` + string(idA) + `","r":0,"reported":[],"delayed":[]}`,
		`{"id":"` + string(idA) + `","r":0,"reported":[1],"delayed":[-1]}`,
		`{"id":"` + string(idA) + `","n":0,"hold":"x"}`,
		`{"id":"` + string(idA) + `","n":1,"hold":null}`,
		`{"id":"` + string(idA) + `","n":1,"hold":7}`,
		`{"id":"` + string(idA) + `","r":0,"n":1,"state":"delivered"}{}`,
	} {
		if e, err := parseEntry([]byte(s)); err == nil {
			t.Errorf("%s: got %+v, want an error", s, e)
		}
	}
}

func TestAnEntryComesBackAsItWas(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	held := "for the operator"
	e := entry{ID: idA, R: 2, N: 3, State: "deferred", Code: 451, Enhanced: "4.3.0", Text: "a\n\"b\" <é>", Host: "mx.x", Addr: "192.0.2.1:25", TLS: "TLS 1.3", At: at, Tries: 4, Next: at.Add(time.Hour)}
	for _, e := range []entry{
		e,
		{ID: idA, R: 1, N: 1, State: stateExpanded, Base: 3, Members: []mta.Recipient{{Address: mta.Address{Local: "m n", Domain: "x"}}}},
		{ID: idA, R: 1, N: 1, State: "failed", Quiet: true},
		{ID: idA, Reported: []int{0, 7}},
		{ID: idA, Delayed: []int{3}},
		{ID: idA, R: 1, N: 2, State: "delivered", Tell: "relayed"},
		{ID: idA, N: 2, Hold: &held},
		{ID: idA, N: 3, Hold: new(string)},
	} {
		got, err := parseEntry(e.bytes())
		if err != nil || !reflect.DeepEqual(got, e) && e.Reported == nil {
			t.Errorf("got %+v, %v; want %+v", got, err, e)
		}
		if bytes.ContainsAny(e.bytes(), "\r\n") {
			t.Errorf("%s: got more than one line", e.bytes())
		}
	}
	if got, err := parseEntry([]byte(strings.TrimSuffix(string(e.bytes()), "}") + `,"new":{"a":1}}`)); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("a field that a later version has added: got %+v, %v; want %+v", got, err, e)
	}
	if o := e.outcome(); o.Status != mta.Deferred || o.Code != 451 || o.Text != e.Text || o.Host != "mx.x" || !o.At.Equal(at) {
		t.Errorf("got the outcome %+v", o)
	}
}

func TestTheHighestNumberCounts(t *testing.T) {
	m := &Message{id: idA, known: true}
	m.grow(2)
	state := func(n int, s string) bool { return m.apply(entry{ID: idA, R: 0, N: n, State: s}, new(sayings)) }
	if !state(2, "deferred") || !state(5, "delivered") {
		t.Fatal("a higher number: got it refused")
	}
	if state(5, "failed") || state(3, "deferred") || m.rcpts[0].state != rcptDelivered {
		t.Errorf("a lower number: got state %d, want it delivered still", m.rcpts[0].state)
	}
	if m.apply(entry{ID: idA, R: 2, N: 1, State: "delivered"}, new(sayings)) {
		t.Error("a recipient that is not there: got it applied")
	}
	if m.apply(entry{ID: idA, R: 1, N: 1, State: stateExpanded, Base: 5}, new(sayings)) || len(m.rcpts) != 2 {
		t.Error("an expansion with another base: got it applied")
	}
	if m.open != 1 {
		t.Errorf("got %d open recipients, want 1", m.open)
	}
}

func TestARewrittenLogKeepsWhatIsToldAndToBeTold(t *testing.T) {
	m := &Message{id: idA, known: true}
	m.grow(3)
	reason := "for the operator"
	for _, e := range []entry{
		{ID: idA, R: 0, N: 1, State: "deferred", Tries: 1}, {ID: idA, Delayed: []int{0}},
		{ID: idA, R: 1, N: 1, State: "delivered", Tell: "relayed", Host: "mx.far"},
		{ID: idA, R: 2, N: 1, State: stateExpanded, Tell: "expanded", Base: 3, Members: []mta.Recipient{{Address: mta.Address{Local: "m", Domain: "x"}}}},
		{ID: idA, N: 1, Hold: &reason},
	} {
		m.apply(e, new(sayings))
	}
	copied := &Message{id: idA, known: true}
	copied.grow(3)
	for _, e := range m.entries() {
		copied.apply(e, new(sayings))
	}
	if r := copied.rcpts; !r[0].late || r[1].tell != "relayed" || r[1].last.Host != "mx.far" || r[2].tell != "expanded" || copied.hold != reason || copied.open != 4 {
		t.Errorf("got %+v, %d open, held %q", r, copied.open, copied.hold)
	}
	copied.apply(entry{ID: idA, Reported: []int{1, 2}}, new(sayings))
	if copied.open != 2 {
		t.Errorf("after the report: %d open, want 2", copied.open)
	}
}

// FuzzJournalEntry: lines of a journal or ID.log. What is accepted has one form; applied in any order it leaves the
// message consistent; and its own list of entries says the same about it.
func FuzzJournalEntry(f *testing.F) {
	id := `{"id":"` + string(idA) + `",`
	f.Add([]byte(id + `"r":0,"n":1,"state":"failed","code":550}` + "\n" + id + `"r":0,"reported":[0]}`))
	f.Add([]byte(id + `"r":1,"n":1,"state":"expanded","base":3,"members":[{"address":"m@x"},{"address":"n@x"}]}` + "\n" + id + `"r":4,"n":1,"state":"delivered"}`))
	f.Add([]byte(id + `"r":0,"n":1,"state":"expanded","base":3}` + "\n" + id + `"r":2,"n":7,"state":"failed","quiet":true}`))
	f.Add([]byte(id + `"r":2,"n":1,"state":"deferred","tries":3,"next":"2026-11-24T00:00:00Z"}` + "\n" + id + `"r":2,"n":2,"state":"deferred"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := &Message{id: idA, known: true}
		m.grow(3)
		for line := range bytes.SplitSeq(in, []byte("\n")) {
			e, err := parseEntry(line)
			if err != nil {
				continue
			}
			again, err := parseEntry(e.bytes())
			if err != nil || !bytes.Equal(again.bytes(), e.bytes()) {
				t.Fatalf("%q became %s: %v", line, e.bytes(), err)
			}
			m.apply(e, new(sayings))
		}
		consistent(t, m)
		copied := &Message{id: idA, known: true}
		copied.grow(3)
		for _, e := range m.entries() {
			if back, err := parseEntry(e.bytes()); err != nil || !copied.apply(back, new(sayings)) {
				t.Fatalf("%s: not applied: %v", e.bytes(), err)
			}
		}
		consistent(t, copied)
		if got, want := logBytes(copied), logBytes(m); !bytes.Equal(got, want) {
			t.Fatalf("got\n%s, want\n%s", got, want)
		}
	})
}

func consistent(t *testing.T, m *Message) {
	t.Helper()
	open := 0
	for _, r := range m.rcpts {
		if !r.settled() {
			open++
		}
	}
	if m.open != open || len(m.rcpts) != 3+len(m.members) {
		t.Fatalf("%d recipients with %d members, %d open; %d said", len(m.rcpts), len(m.members), open, m.open)
	}
	if _, err := json.Marshal(m.members); err != nil {
		t.Fatal(err)
	}
}

func TestEqualOutcomesAreKeptOnce(t *testing.T) {
	var said sayings
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	one := mta.Outcome{Code: 450, Text: "down", Host: "mx.test", At: monday}
	other := one
	other.At = monday.Add(time.Hour)
	p := said.share(one)
	if q := said.share(other); q != p || !p.At.IsZero() {
		t.Errorf("got %p of %+v and %p, want the same without a time", p, p, q)
	}
	for i := range 2 * maxSayings {
		one.Code = i
		if got := said.share(one); got.Code != i {
			t.Fatalf("got %+v for %d", got, i)
		}
	}
	if len(said.known) > maxSayings || p.Code != 450 {
		t.Errorf("%d are kept, the first became %+v", len(said.known), p)
	}
	m := &Message{id: idA}
	m.grow(2)
	for i := range 2 {
		m.apply(entry{ID: idA, R: i, N: 1, State: "deferred", Code: 450, Text: "down", At: monday.Add(time.Duration(i) * time.Hour)}, &said)
	}
	if list := m.entries(); m.rcpts[0].last != m.rcpts[1].last || len(list) != 2 || !list[0].At.Equal(monday) || !list[1].At.Equal(monday.Add(time.Hour)) {
		t.Errorf("got %+v", list)
	}
}
