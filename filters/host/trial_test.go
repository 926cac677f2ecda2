package host_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

func TestATrialTellsWhatWouldBecomeOfAMessage(t *testing.T) {
	s := newSite(t, "one", "two")
	s.opt.ScoreJunk, s.opt.ScoreReject, s.opt.Quarantine = 5, 10, host.QuarantineHold
	h := s.start()
	for _, c := range []struct {
		do                    []string
		to                    []string
		fate, by, reply, hold string
		answers               int
	}{
		{[]string{"one top a"}, nil, host.TrialTaken, "", "", "", 6},
		{[]string{"one reject no"}, nil, host.TrialRefused, "one", "550 5.7.1 no", "", 5},
		{[]string{"two tempfail later"}, nil, host.TrialDeferred, "two", "451 4.7.1 later", "", 6},
		{[]string{"one discard"}, nil, host.TrialDiscarded, "one", "", "", 5},
		{[]string{"two quarantine odd"}, nil, host.TrialQuarantined, "two", "", "quarantined by two: odd", 6},
		{[]string{"one score 6"}, nil, host.TrialQuarantined, "score", "", "", 6},
		{[]string{"one score 12"}, nil, host.TrialRefused, "score", "550 5.7.1 Message refused: it looks like spam", "", 6},
		{[]string{"one error"}, nil, host.TrialDeferred, "one", "451 4.3.0 Cannot check the mail now, try again later", "", 5},
		{nil, []string{"do-reject@here.test", "bob@here.test"}, host.TrialTaken, "", "", "", 7},
		{nil, []string{"do-reject@here.test"}, host.TrialRefused, "one", "550 5.7.1 Refused by local policy", "", 3},
	} {
		e := event(mta.AtConnect)
		e.Sender, e.Rcpts = address("a@away.test"), rcpts("bob@here.test")
		if c.to != nil {
			e.Rcpts = rcpts(c.to...)
		}
		o, err := h.Try(t.Context(), host.Trial{Event: *e, Content: []byte(do(c.do...))})
		if err != nil {
			t.Fatal(err)
		}
		if o.Fate != c.fate || o.By != c.by || o.Reply != c.reply || o.Hold != c.hold || len(o.Answers) != c.answers {
			t.Errorf("%v to %v: got %s by %q, reply %q, hold %q, %d answers; want %s by %q, reply %q, hold %q, %d\n%+v",
				c.do, c.to, o.Fate, o.By, o.Reply, o.Hold, len(o.Answers), c.fate, c.by, c.reply, c.hold, c.answers, o.Answers)
		}
		if failed := slices.Contains(c.do, "one error"); o.Failed() != failed {
			t.Errorf("%v: got failed %v, want %v", c.do, o.Failed(), failed)
		}
		if taken := c.fate == host.TrialTaken || c.fate == host.TrialQuarantined; (o.Message != nil) != taken || (len(o.Recipients) > 0) != taken {
			t.Errorf("%v: got %d octets for %v", c.do, len(o.Message), o.Recipients)
		}
	}
}

func TestATrialTellsOfEachEdit(t *testing.T) {
	s := newSite(t, "one")
	e := event(mta.AtConnect)
	e.Rcpts = rcpts("bob@here.test", "carol@here.test")
	o, err := s.start().Try(t.Context(), host.Trial{Event: *e, Content: []byte(do("one body"))})
	if err != nil {
		t.Fatal(err)
	}
	last := o.Answers[len(o.Answers)-1]
	if last.Verdict != "edit" || !slices.Equal(last.Edits, []string{"body replaced"}) || len(o.Recipients) != 2 || !strings.HasSuffix(string(o.Message), "\r\n\r\nnew\r\nbody\r\nwith \xe4\r\nline ends") {
		t.Errorf("got %+v, %q", last, o.Message)
	}
	if o, err = s.host.Try(t.Context(), host.Trial{Event: *e, Content: []byte(do("one note"))}); err != nil {
		t.Fatal(err)
	}
	if got := o.Answers[len(o.Answers)-1].Notes; !slices.Equal(got, []string{`spf=pass reason="it \"is\"" smtp.mailfrom=a@away.test`}) {
		t.Errorf("got the notes %q", got)
	}
	for what, want := range map[string]string{
		"top a": "header added on top: X-Top: a", "bottom b": "header added at the end: X-Bottom: b", "replace X-Do": "header replaced: X-Do (2): replaced",
		"remove Subject": "header removed: Subject (all)", "remove2 X-Do": "header removed: X-Do (2)", "sender x@y.test": "sender changed: <x@y.test>",
		"addrcpt x@y.test": "recipient added: x@y.test", "rmrcpt bob@here.test": "recipient removed: bob@here.test", "folder Spam": "folder for bob@here.test: Spam",
	} {
		o, err := s.host.Try(t.Context(), host.Trial{Event: *e, Content: []byte(do("one "+what, "one "+what))})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Answers[len(o.Answers)-1]; !slices.Contains(got.Edits, want) {
			t.Errorf("%s: got %q %q, want %q", what, got.Edits, got.Failure, want)
		}
	}
}
