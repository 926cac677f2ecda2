package host_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

// do is a message that tells filters what to do: "one tag" is for the filter one.
func do(what ...string) string {
	return "Subject: hello\r\n" + fields(what...) + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
}

func fields(what ...string) string {
	var b strings.Builder
	for _, w := range what {
		b.WriteString("X-Do: " + w + "\r\n")
	}
	return b.String()
}

func TestEditsReachTheMessage(t *testing.T) {
	s := newSite(t, "one", "two")
	s.start()
	for _, c := range []struct {
		name string
		do   []string
		want func(rest string) string // rest: the fields X-Do
	}{
		{"nothing", []string{"one nothing"}, func(r string) string {
			return received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
		{"top", []string{"one top a"}, func(r string) string {
			return "X-Top: a\r\n" + received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
		{"bottom", []string{"one bottom b"}, func(r string) string {
			return received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\nX-Bottom: b\r\n\r\nbody\r\n"
		}},
		{"folded", []string{"one fold"}, func(r string) string {
			return "X-Folded: a\r\n\tb\r\n c\r\n" + received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
		{"replace", []string{"one replace X-Two", "two tag"}, func(r string) string {
			return received + "Subject: [tag] hello\r\n" + r + "X-Two: 1\r\nx-two: replaced\r\n\r\nbody\r\n"
		}},
		{"replace what is not there", []string{"one replace X-New"}, func(r string) string {
			return "X-New: replaced\r\n" + received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
		{"remove all", []string{"one remove x-two"}, func(r string) string {
			return received + "Subject: hello\r\n" + r + "\r\nbody\r\n"
		}},
		{"remove the second", []string{"one remove2 X-Two"}, func(r string) string {
			return received + "Subject: hello\r\n" + r + "X-Two: 1\r\n\r\nbody\r\n"
		}},
		{"the later see what the earlier did", []string{"one tag", "two tag"}, func(r string) string {
			return received + "Subject: [tag] [tag] hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
		{"body", []string{"one body", "two top a"}, func(r string) string {
			return "X-Top: a\r\n" + received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nnew\r\nbody\r\nwith \xe4\r\nline ends"
		}},
		{"note", []string{"one note", "two seen"}, func(r string) string {
			return "Authentication-Results: mx.here.test;\r\n\tspf=pass reason=\"it \\\"is\\\"\"\r\n\t\tsmtp.mailfrom=a@away.test\r\n" +
				"X-Seen: notes=1 score=0 sender=a@away.test rcpts=2\r\n" + received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
		{"its own folder", []string{"one write"}, func(r string) string {
			return "X-Wrote: yes\r\n" + received + "Subject: hello\r\n" + r + "X-Two: 1\r\nx-two: 2\r\n\r\nbody\r\n"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.judge(do(c.do...))
			if r.Action != mta.GoOn {
				t.Fatalf("got %+v", r.Verdict)
			}
			wantRendered(t, r.rendered, c.want(fields(c.do...)))
			if eight := strings.Contains(r.rendered, "\xe4"); eight != (r.env.Body == mta.Body8BitMIME) {
				t.Errorf("got the body type %q", r.env.Body)
			}
		})
	}
}

func TestAHeaderThatGrowsLargeMakesANewContent(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	r := s.judge(do("one huge"))
	if r.Action != mta.GoOn || r.env.Prepend != "" || !strings.HasPrefix(r.rendered, received) || !strings.HasSuffix(r.rendered, "0123456789\r\n end\r\n\r\nbody\r\n") || strings.Count(r.rendered, "X-Huge") != 100 {
		t.Errorf("got %+v with %d octets in front, %d fields", r.Verdict, len(r.env.Prepend), strings.Count(r.rendered, "X-Huge"))
	}
}

func TestEditsReachTheEnvelope(t *testing.T) {
	s := newSite(t, "one", "two")
	s.start()
	show := func(env *mta.Envelope) string {
		b := "<" + env.Sender.String() + ">"
		for _, r := range env.Rcpts {
			b += " " + r.Address.String() + "/" + r.Folder
		}
		return b
	}
	for _, c := range []struct{ do, want string }{
		{"sender b@away.test", "<b@away.test> bob@here.test/ carol@here.test/"},
		{"sender <>", "<> bob@here.test/ carol@here.test/"},
		{"sender", "<> bob@here.test/ carol@here.test/"},
		{"addrcpt dave@else.test", "<a@away.test> bob@here.test/ carol@here.test/ dave@else.test/"},
		{"addrcpt bob@here.test", "<a@away.test> bob@here.test/ carol@here.test/"},
		{"rmrcpt bob@here.test", "<a@away.test> carol@here.test/"},
		{"folder Lists.go", "<a@away.test> bob@here.test/Lists.go carol@here.test/"},
		{"quarantine odd", "<a@away.test> bob@here.test/Junk carol@here.test/Junk"},
	} {
		r := s.judge(do("one "+c.do, "two seen"))
		if got := show(r.env); got != c.want || r.Action != mta.GoOn {
			t.Errorf("%s: got %s, %+v; want %s", c.do, got, r.Verdict, c.want)
		}
	}
	r := s.judge(do("one rmrcpt bob@here.test", "two rmrcpt carol@here.test"))
	if r.Action != mta.Throw {
		t.Errorf("without recipients: got %+v, want it thrown away", r.Verdict)
	}
}

func TestABadAnswerChangesNothing(t *testing.T) {
	s := newSite(t, "one", "two")
	s.opt.OnFailure = host.OnFailureAccept
	s.start()
	for _, what := range []string{"inject", "badname", "halfbody", "bigbody", "twobodies", "badnote", "badcode", "addrcpt x", "sender \xff", "folder ../x", "error", "panic"} {
		r := s.judge(do("one top seen", "one "+what))
		if r.Action != mta.GoOn {
			t.Errorf("%s: got %+v", what, r.Verdict)
		}
		wantRendered(t, r.rendered, received+do("one top seen", "one "+what))
		if len(r.env.Rcpts) != 2 || r.env.Sender.String() != "a@away.test" || r.env.Notes != nil {
			t.Errorf("%s: got the envelope %+v", what, r.env)
		}
	}
	if n := strings.Count(s.logged(), "event=filter-failed"); n != 12 {
		t.Errorf("got %d events filter-failed, want one each: 12", n)
	}
	if strings.Contains(s.logged(), "filter-down") {
		t.Error("the filter is down: want it to outlive its own bad answers")
	}
}

func TestVerdictsDecide(t *testing.T) {
	s := newSite(t, "one", "two")
	s.opt.ScoreJunk, s.opt.ScoreReject = 5, 10
	s.start()
	for _, c := range []struct {
		name string
		do   []string
		want string
	}{
		{"reject", []string{"one reject not you", "two reject never asked"}, "1 550 5.7.1 not you one"},
		{"reject without a word", []string{"one reject"}, "1 550 5.7.1 Refused by local policy one"},
		{"line ends in the text", []string{"one crlf"}, "1 550 5.7.1 no 250 yes [2J one"},
		{"tempfail", []string{"two tempfail later"}, "1 451 4.7.1 later two"},
		{"the end of a session that goes on", []string{"one 421"}, "1 451 4.7.1 go away one"},
		{"discard", []string{"one discard", "two reject never asked"}, "2 000 one"},
		{"accept skips the next", []string{"one accept", "two reject no"}, "0 000 "},
		{"quarantine does not", []string{"one quarantine", "two reject no"}, "1 550 5.7.1 no two"},
		{"a failure", []string{"one error"}, "3 451 4.3.0 Cannot check the mail now, try again later one"},
		{"score", []string{"one score 6", "two score 3.5"}, "0 000 "},
		{"too high a score", []string{"one score 6", "two score 4"}, "1 550 5.7.1 Message refused: it looks like spam score"},
		{"a score that is made good", []string{"one score 16", "two score -12"}, "0 000 "},
	} {
		r := s.judge(do(c.do...))
		if got := fmt.Sprint(r.Action, " ", r.Reply, " ", r.By); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if junk := r.env.Rcpts[0].Folder == "Junk"; junk != (c.name == "score") {
			t.Errorf("%s: got the folder %q", c.name, r.env.Rcpts[0].Folder)
		}
	}
	if r := s.judge(do("one delay", "two delay")); r.Delay.Minutes() != 1 {
		t.Errorf("got a delay of %v, want it bounded by 1m", r.Delay)
	}
	if r := s.judge(do("one quarantine odd")); r.env.Hold != "" || !strings.Contains(string(r.env.Notes), `"quarantine":"one"`) {
		t.Errorf("got hold %q, notes %s", r.env.Hold, r.env.Notes)
	}
}

// recipient asks for one more recipient, whose local part tells the filters what to do.
func recipient(t *testing.T, f *host.Session, e *mta.Event, to string) mta.Verdict {
	t.Helper()
	x := *e
	x.Stage, x.Rcpt = mta.AtRecipient, address(to)
	v := f.Ask(t.Context(), &x)
	if v.Action == mta.GoOn {
		e.Rcpts = append(e.Rcpts, mta.Recipient{Address: x.Rcpt})
	}
	return v
}

func TestARefusedRecipientLeavesNothingBehind(t *testing.T) {
	s := newSite(t, "one", "two")
	s.start()
	f := s.host.Session()
	defer f.End()
	e := event(mta.AtMessage)
	e.Rcpts = nil
	if v := recipient(t, f, e, `"do-split addrcpt other@else.test|tempfail later"@here.test`); v.Reply.Code != 451 {
		t.Fatalf("got %+v, want the second filter's refusal", v)
	}
	if v := recipient(t, f, e, "bob@here.test"); v.Action != mta.GoOn {
		t.Fatalf("got %+v", v)
	}
	if r := s.message(f, e, do()); len(r.env.Rcpts) != 1 || r.env.Rcpts[0].Address.String() != "bob@here.test" {
		t.Errorf("got the recipients %v, want bob alone", r.env.Rcpts)
	}
}

func TestTheNotesOfATransactionAreBounded(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	f := s.host.Session()
	defer f.End()
	e := event(mta.AtMessage)
	e.Rcpts = nil
	for i := range 4 {
		recipient(t, f, e, fmt.Sprintf(`"do-notes %d"@here.test`, i))
	}
	if n := len(e.Rcpts); n == 0 || n == 4 {
		t.Fatalf("got %d recipients, want some of 4: the notes of all are too many", n)
	}
	if r := s.message(f, e, do()); r.Action != mta.GoOn || len(r.env.Notes) > 2<<20 {
		t.Errorf("got %+v with %d octets of notes", r.Verdict, len(r.env.Notes))
	}
}

func TestOurResultsHaveNoLongLines(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	r := s.judge(do("one quotes"))
	if !strings.HasPrefix(r.rendered, "Authentication-Results: mx.here.test;\r\n\t") {
		t.Fatalf("got %+v, %.200q", r.Verdict, r.rendered)
	}
	for line := range strings.Lines(r.rendered) {
		if n := len(strings.TrimSuffix(line, "\r\n")); n > 998 { // RFC 5322 2.1.1
			t.Errorf("got a line of %d octets: %.60q", n, line)
		}
	}
}

func TestOnlyOursMayClaimOurResults(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	forged := []string{
		"Authentication-Results: mx.here.test; spf=pass\r\n",
		"authentication-results:\r\n\tMX.here.TEST;\r\n\tdkim=pass\r\n",
		"Authentication-Results: (a (nested) comment) \"mx.here.test\" 1; spf=pass\r\n",
		"Authentication-Results: mx.here.test/1; spf=pass\r\n",
		"Authentication-Results: (no end\r\n",
		"Authentication-Results : mx.here.test.; spf=pass\r\n",
		"Authentication-Results: mx\r\n\t.here (a comment) .test; spf=pass\r\n",
		"Authentication-Results: (;) mx (/) .here.test; spf=pass\r\n",
		"Authentication-Results: \x0bmx.here.test\x0c; spf=pass\r\n",
		"Authentication-Results: \" mx.here.test \"; spf=pass\r\n",
		"Authentication-Results: =?us-ascii?q?mx.here.test=3B?= spf=pass\r\n",
		"Authentication-Results: =?us-ascii?q?mx?=.here.test; spf=pass\r\n",
	}
	honest := "Authentication-Results: mx.away.test; spf=pass\r\nX-Authentication-Results: mx.here.test; spf=pass\r\n"
	r := s.judge(strings.Join(forged, "") + honest + "Subject: x\r\n\r\nAuthentication-Results: mx.here.test; in the body\r\n")
	wantRendered(t, r.rendered, received+honest+"Subject: x\r\n\r\nAuthentication-Results: mx.here.test; in the body\r\n")
}

func TestOddMessages(t *testing.T) {
	s := newSite(t, "one")
	s.start()
	large := "Subject: hello\r\nX-Do: one tag\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 10000)
	for _, c := range []struct{ name, content, want string }{
		{"empty", "", received},
		{"no header", "\r\nbody\r\n", received + "\r\nbody\r\n"},
		{"header alone", "X-Do: one bottom x\r\n", received + "X-Do: one bottom x\r\nX-Bottom: x\r\n"},
		{"header without a line end", "X-Do: one bottom x", received + "X-Do: one bottom x\r\nX-Bottom: x\r\n"},
		{"header without a line end, and a body", "X-Do: one body", received + "X-Do: one body\r\n\r\nnew\r\nbody\r\nwith \xe4\r\nline ends"},
		{"large, in the spool", large, received + strings.Replace(large, "hello", "[tag] hello", 1)},
		{"eight bits in the header", "Subject: \xe4\r\nX-Do: one bottom x\r\n\r\n", received + "Subject: \xe4\r\nX-Do: one bottom x\r\nX-Bottom: x\r\n\r\n"},
	} {
		r := s.judge(c.content)
		if r.Action != mta.GoOn || r.rendered != c.want {
			t.Errorf("%s: got %+v, %q; want %q", c.name, r.Verdict, r.rendered[:min(len(r.rendered), 300)], c.want[:min(len(c.want), 300)])
		}
	}
	if r := s.judge(strings.Repeat("x:\r\n", 20_000) + "\r\n"); r.Reply.Code != 552 || !strings.Contains(r.Reply.Text, "20000 fields") {
		t.Errorf("a header of very many fields: got %+v", r.Verdict)
	}
	if r := s.judge("X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"); r.Reply.Code != 552 {
		t.Errorf("a header of 2 MB: got %+v", r.Verdict)
	}
}
