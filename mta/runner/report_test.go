package runner_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

func refuse(_ context.Context, t runner.Transaction) []mta.Outcome {
	return all(t, mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.1.1", Text: "nobody of that name", Host: "mx.far.test"})
}

func TestFailureIsReportedToTheSenderOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = refuse
		w.begin()
		id := w.send("alice@here.test", "bob@far.test", "carol@far.test", "dora@here.test")
		w.until("finished", time.Hour, w.idle)
		w.end()
		w.begin() // and not again by the next run
		time.Sleep(time.Hour)
		w.close()
		got := w.local.of("alice@here.test")
		if len(got) != 1 || strings.Count(got[0], "nobody of that name") < 4 || !strings.Contains(got[0], "Subject: test") {
			t.Fatalf("reports: got %d %q, want one about both", len(got), got)
		}
		if b := w.log.named("reported"); len(b) != 1 || !strings.Contains(b[0], "id="+string(id.Child('F', 0))+" parent="+string(id)) {
			t.Errorf("reported events: %q", b)
		}
		if got := w.local.of("dora@here.test"); len(got) != 1 {
			t.Errorf("the good recipient got %d messages, want 1", len(got))
		}
	})
}

func TestSenderIsNotToldWhereNotifyForbidsIt(t *testing.T) {
	for _, c := range []struct {
		notify string
		want   int
	}{
		{"NEVER", 0}, {"SUCCESS", 0}, {"SUCCESS,DELAY", 0}, {"success,failure", 1}, {"FAILURE", 1}, {"", 1},
	} {
		t.Run(c.notify, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.remote.do = refuse
				w.begin()
				defer w.close()
				w.commit(&mta.Envelope{Sender: address("alice@here.test"), Rcpts: []mta.Recipient{{Address: address("bob@far.test"), Notify: c.notify}}})
				w.until("finished", time.Hour, w.idle)
				if got := len(w.local.of("alice@here.test")); got != c.want {
					t.Errorf("got %d reports, want %d", got, c.want)
				}
			})
		})
	}
}

func TestReportThatBouncesGoesToPostmaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.remote.do = refuse
		w.begin()
		defer w.close()
		w.send("forged@far.test", "bob@far.test")
		w.until("finished", time.Hour, w.idle)
		if got := w.local.of("postmaster@here.test"); len(got) != 1 || !strings.Contains(got[0], "<forged@far.test>") {
			t.Errorf("postmaster got %q, want the double bounce", got)
		}
	})
}

func TestReportThatNobodyTakesIsDroppedAndLogged(t *testing.T) {
	for name, c := range map[string]struct {
		reports int // in all: one to the forged sender, and double bounces
		arrange func(w *world)
	}{
		"gone":    {3, func(w *world) { w.router.gone["postmaster@here.test"] = true }},
		"abroad":  {3, func(w *world) { w.set.Postmaster = address("chief@far.test") }},
		"forward": {4, func(w *world) { w.router.aliases["postmaster@here.test"] = []string{"chief@far.test"} }},
		"half a forward": {4, func(w *world) {
			w.router.aliases["postmaster@here.test"] = []string{"chief@far.test", "deputy@here.test"}
		}},
		"alias of nobody": {3, func(w *world) {
			w.router.aliases["postmaster@here.test"] = []string{"gone@here.test"}
			w.router.gone["gone@here.test"] = true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.remote.do = refuse
				c.arrange(w)
				w.begin()
				defer w.close()
				w.send("forged@far.test", "bob@far.test")
				w.send("", "bob@far.test")
				w.until("finished", time.Hour, w.idle)
				if got := len(w.log.named("dropped")); got != 2 {
					t.Errorf("got %d dropped events, want 2:\n%s", got, w.log)
				}
				if got := len(w.log.named("reported")); got != c.reports {
					t.Errorf("got %d reports, want %d:\n%s", got, c.reports, w.log)
				}
			})
		})
	}
}

func TestAliasBecomesItsMembersAndAForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.router.aliases["list@here.test"] = []string{"alice@here.test", "bob@here.test", "x@far.test", "y@far.test", "z@other.test", "list@here.test", "gone@here.test"}
		w.router.gone["gone@here.test"] = true
		w.begin()
		defer w.close()
		id := w.send("sender@here.test", "list@here.test", "alice@here.test")
		w.until("finished", time.Hour, w.idle)
		for who, want := range map[string]int{"alice@here.test": 2, "bob@here.test": 1, "list@here.test": 1, "sender@here.test": 1} {
			if got := len(w.local.of(who)); got != want {
				t.Errorf("%s got %d messages, want %d", who, got, want)
			}
		}
		if got, want := fmt.Sprint(w.remote.recipients()), "[x@far.test y@far.test z@other.test]"; got != want {
			t.Errorf("forwarded to %s, want %s", got, want)
		}
		w.remote.mu.Lock()
		defer w.remote.mu.Unlock()
		for _, g := range w.remote.got {
			if e := g.Envelope; e.Role != mta.RoleForward || e.Sender.String() != "sender@here.test" || e.ID != id.Child('X', 0) || e.Size != g.Size {
				t.Errorf("forward's envelope: %+v", e)
			}
		}
	})
}

// TestReportsOfAListGoToItsOwner: a member off this host that fails is the owner's affair, and no word of it goes to who
// wrote to the list; a report that goes to a list keeps its null sender.
func TestReportsOfAListGoToItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.router.aliases["list@here.test"] = []string{"alice@here.test", "x@far.test"}
		w.router.owner = address("owner-list@here.test")
		w.begin()
		defer w.close()
		w.send("sender@here.test", "list@here.test")
		w.send("", "list@here.test")
		w.until("finished", time.Hour, w.idle)
		w.remote.mu.Lock()
		defer w.remote.mu.Unlock()
		var senders []string
		for _, g := range w.remote.got {
			e := g.Envelope
			senders = append(senders, "<"+e.Sender.String()+">")
			if own := e.Sender == w.router.owner; own != (e.Rcpts[0].ORcpt == "") || own && e.Rcpts[0].Notify != "" {
				t.Errorf("from <%s>: the recipient's wishes are %+v", e.Sender, e.Rcpts[0])
			}
		}
		slices.Sort(senders)
		if got, want := strings.Join(senders, " "), "<> <owner-list@here.test>"; got != want {
			t.Errorf("forwarded from %s, want %s", got, want)
		}
	})
}

// TestMembersHereAreTheOwnersAffairToo: where an alias has an owner, no word of any member goes to who wrote to it, and members are
// not expanded again.
func TestMembersHereAreTheOwnersAffairToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.router.aliases["list@here.test"] = []string{"alice@here.test", "list@here.test", "gone@here.test"}
		w.router.owner = address("owner-list@here.test")
		w.router.gone["gone@here.test"] = true
		var from []string
		w.local.do = func(r local.Request) mta.Outcome {
			from = append(from, fmt.Sprintf("%s from <%s>", r.DeliveredTo, r.ReturnPath))
			return mta.Outcome{Status: mta.Delivered}
		}
		w.begin()
		defer w.close()
		w.send("sender@here.test", "list@here.test")
		w.until("finished", time.Hour, w.idle)
		w.local.mu.Lock()
		defer w.local.mu.Unlock()
		slices.Sort(from)
		if got, want := fmt.Sprint(from), "[alice@here.test from <owner-list@here.test> list@here.test from <owner-list@here.test> owner-list@here.test from <>]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestAMessageThatComesBackIsALoop: what an address had already, by its own name or as an alias, fails there and nowhere else.
func TestAMessageThatComesBackIsALoop(t *testing.T) {
	for name, c := range map[string]struct{ header, to, want string }{
		"a mailbox":            {"Subject: x\r\nDelivered-To: Bob@here.test\r\n", "bob@here.test", "5.4.6"},
		"in angle brackets":    {"delivered-to :\r\n <bob@here.test>\r\n", "bob@here.test", "5.4.6"},
		"an alias":             {"Delivered-To: list@here.test\r\n", "list@here.test", "5.4.6"},
		"another's":            {"Delivered-To: alice@here.test\r\n", "bob@here.test", ""},
		"another domain's":     {"Delivered-To: bob@there.test\r\n", "bob@here.test", ""},
		"an address elsewhere": {"Delivered-To: x@far.test\r\n", "x@far.test", ""},
		"in the body":          {"Subject: x\r\n\r\nDelivered-To: bob@here.test\r\n", "bob@here.test", ""},
		"a long one":           {"Delivered-To: " + strings.Repeat(" ", 2000) + "bob@here.test\r\n", "bob@here.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.router.aliases["list@here.test"] = []string{"bob@here.test", "x@far.test"}
				w.begin()
				defer w.close()
				in := w.writer.Begin()
				if _, err := io.WriteString(in, c.header+"\r\nx\r\n"); err != nil {
					t.Fatal(err)
				}
				if err := in.Commit(&mta.Envelope{Role: mta.RoleMX, Sender: address("sender@here.test"), Rcpts: []mta.Recipient{{Address: address(c.to)}}}); err != nil {
					t.Fatal(err)
				}
				w.until("finished", time.Hour, w.idle)
				failed := w.log.named("failed")
				if c.want == "" && len(failed) != 0 || c.want != "" && (len(failed) != 1 || !strings.Contains(failed[0], c.want)) {
					t.Errorf("got %q, want %q", failed, c.want)
				}
				if n := len(w.local.of("sender@here.test")); n != len(failed) {
					t.Errorf("the sender got %d reports of %d failures", n, len(failed))
				}
			})
		})
	}
}

// TestAForwardIsKnownWhenItComesBack sends what was forwarded to the alias again.
func TestAForwardIsKnownWhenItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.router.aliases["away@here.test"] = []string{"x@far.test"}
		w.set.Rewrite = func(alias, sender mta.Address) (mta.Address, error) {
			return address("srs=" + sender.Local + "@" + alias.Domain), nil
		}
		w.begin()
		defer w.close()
		w.send("sender@far.test", "away@here.test")
		w.until("finished", time.Hour, w.idle)
		w.remote.mu.Lock()
		e := w.remote.got[0].Envelope
		w.remote.mu.Unlock()
		if e.Sender.String() != "srs=sender@here.test" || !strings.HasPrefix(e.Prepend, "Delivered-To: away@here.test\r\n") {
			t.Fatalf("got %+v", e)
		}
		if got := w.log.named("expanded"); len(got) != 1 || !strings.Contains(got[0], "from=<srs=sender@here.test>") {
			t.Errorf("got %q in the log", got)
		}
		in := w.writer.Begin()
		if _, err := io.WriteString(in, e.Prepend+"Subject: x\r\n\r\nx\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(&mta.Envelope{Role: mta.RoleMX, Sender: e.Sender, Rcpts: []mta.Recipient{{Address: address("away@here.test")}}}); err != nil {
			t.Fatal(err)
		}
		w.until("finished", time.Hour, w.idle)
		if failed := w.log.named("failed"); len(failed) != 1 || !strings.Contains(failed[0], "5.4.6") {
			t.Errorf("got %q, want the loop to be found", failed)
		}
	})
}

// signer signs by saying what it was given.
type signer struct{}

func (signer) Report(m []byte) (string, error) {
	head, _, _ := strings.Cut(string(m), "\r\n\r\n")
	return fmt.Sprintf("X-Signed: report with subject %v\r\n", strings.Contains(head, "\r\nSubject: ")), nil
}

func (signer) Forward(alias mta.Address, e *mta.Envelope, m io.Reader) (string, error) {
	b, err := io.ReadAll(m)
	return fmt.Sprintf("X-Signed: %s from %s, %d octets\r\n", alias, e.Sender, len(b)), err
}

func TestReportsAndForwardsAreSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set.Sign = signer{}
		w.router.aliases["list@here.test"] = []string{"x@far.test"}
		w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
			if t.Rcpts[0].Address.Domain == "full.test" {
				return all(t, mta.Outcome{Status: mta.Failed, Code: 550, Enhanced: "5.2.2", Text: "full"})
			}
			return all(t, mta.Outcome{Status: mta.Delivered, Code: 250})
		}
		w.begin()
		defer w.close()
		w.send("sender@away.test", "list@here.test", "y@full.test")
		w.until("finished", time.Hour, w.idle)
		w.remote.mu.Lock()
		defer w.remote.mu.Unlock()
		got := map[string]string{}
		for _, g := range w.remote.got {
			first, _, _ := strings.Cut(strings.TrimPrefix(g.Envelope.Prepend, "Delivered-To: list@here.test\r\n"), "\r\n")
			got[g.Rcpts[0].Address.String()] = first
		}
		if s := got["sender@away.test"]; s != "X-Signed: report with subject true" {
			t.Errorf("the report has %q", s)
		}
		if s := got["x@far.test"]; !strings.HasPrefix(s, "X-Signed: list@here.test from sender@away.test, ") {
			t.Errorf("the forward has %q", s)
		}
		if s := got["y@full.test"]; strings.Contains(s, "X-Signed") {
			t.Errorf("what goes on as it came has %q", s)
		}
	})
}

// TestMembersThatLeaveLaterAreForwardedAsWell has one that could not be decided on when its alias was expanded, one whose domain has
// moved away since, and one that an operator has sent elsewhere; the other recipients of the message keep their sender.
func TestMembersThatLeaveLaterAreForwardedAsWell(t *testing.T) {
	for name, owner := range map[string]string{"an alias": "", "a list": "owner-all@here.test"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.set.Sign = signer{}
				w.set.Rewrite = func(alias, sender mta.Address) (mta.Address, error) {
					if sender.Domain == "here.test" {
						return sender, nil
					}
					return address("srs=" + sender.Local + "@" + alias.Domain), nil
				}
				w.router.aliases["all@here.test"] = []string{"late@far.test", "bob@here.test"}
				w.router.later = map[string]bool{"late@far.test": true, "bob@here.test": true}
				w.router.owner = address(owner)
				w.begin()
				id := w.commit(&mta.Envelope{Role: mta.RoleMX, Sender: address("sender@away.test"), Rcpts: []mta.Recipient{
					{Address: address("all@here.test"), Notify: "FAILURE", ORcpt: "rfc822;all@here.test"}, {Address: address("relayed@far.test")},
				}})
				w.until("tried", time.Minute, func() bool { return len(w.log.named("deferred")) == 2 })
				w.router.mu.Lock()
				w.router.later, w.router.relay = nil, mta.Destination{Domain: "far.test"}
				w.router.away = map[string]bool{"bob@here.test": true}
				w.router.mu.Unlock()
				if err := w.end(); err != nil { // what the expansion said outlives us
					t.Fatal(err)
				}
				w.begin()
				w.until("finished", 2*time.Hour, w.idle)
				w.close()
				sender := "srs=sender@here.test"
				if owner != "" {
					sender = owner
				}
				got := map[string]string{}
				for _, g := range w.remote.got {
					for _, r := range g.Rcpts {
						if g.Envelope.Sender != address(sender) == (r.Address != address("relayed@far.test")) {
							t.Errorf("%s came from %s", r.Address, g.Envelope.Sender)
						}
						got[r.Address.String()] += string(r.Notify) + " " + strings.ReplaceAll(g.Envelope.Prepend, "\r\n", "|")
					}
				}
				if len(got) != 3 || got["relayed@far.test"] != " " {
					t.Errorf("got %q", got)
				}
				for _, to := range []string{"late@far.test", "bob@here.test"} {
					if !strings.Contains(got[to], " Delivered-To: all@here.test|X-Signed: all@here.test from sender@away.test, ") || strings.Count(got[to], "|") != 2 || owner == "" && !strings.HasPrefix(got[to], "FAILURE ") {
						t.Errorf("%s got %q, of %s", to, got[to], id)
					}
				}
			})
		})
	}
}

func TestWhatIsRedirectedOffThisHostIsForwarded(t *testing.T) {
	for to, want := range map[string]string{"bob@here.test": "srs=s@here.test", "bob@far.test": "s@away.test"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.set.Rewrite = func(alias, sender mta.Address) (mta.Address, error) {
				return address("srs=" + sender.Local + "@" + alias.Domain), nil
			}
			w.router.later = map[string]bool{"bob@here.test": true}
			w.remote.do = func(_ context.Context, t runner.Transaction) []mta.Outcome {
				if t.Rcpts[0].Address == address("bob@far.test") {
					return all(t, mta.Outcome{Code: 451, Enhanced: "4.3.0", Text: "not now"})
				}
				return all(t, mta.Outcome{Status: mta.Delivered})
			}
			w.begin()
			defer w.close()
			id := w.send("s@away.test", to)
			w.until("tried", time.Minute, func() bool { return len(w.log.named("deferred")) == 1 })
			if err := w.change(id, control.Change{Op: control.Redirect, To: address("new@other.test")}); err != nil {
				t.Fatal(err)
			}
			w.until("finished", time.Hour, w.idle)
			w.remote.mu.Lock()
			defer w.remote.mu.Unlock()
			if last := w.remote.got[len(w.remote.got)-1]; last.Rcpts[0].Address != address("new@other.test") || last.Envelope.Sender != address(want) {
				t.Errorf("%s: got %+v, want it from %s", to, last, want)
			}
		})
	}
}
