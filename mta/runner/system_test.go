package runner_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/runner"
)

// accounts is a System whose users have the ~/.forward that it says. It remembers what it delivered.
type accounts struct {
	mu       sync.Mutex // guards what follows
	forwards map[string][]asuser.Target
	got      []string
	looks    int
	do       func(r runner.SystemRequest) mta.Outcome // nil: all is delivered
}

func (a *accounts) Deliver(_ context.Context, r runner.SystemRequest) (mta.Outcome, []asuser.Target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Look {
		a.looks++
	}
	if to := a.forwards[r.User]; r.Target.Kind == "" && len(to) > 0 {
		return mta.Outcome{}, to
	}
	if a.do != nil {
		if o := a.do(r); o.Status != mta.Delivered {
			return o, nil
		}
	}
	line := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %s", r.User, r.Program, r.Extension, r.Target.Kind, r.Target.Value)), " ")
	a.got = append(a.got, line)
	return mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "delivered"}, nil
}

func (a *accounts) delivered() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.Clone(a.got)
	slices.Sort(list)
	return list
}

// unix is a router whose domain unix.test has the machine's users, and programs.
type unix struct{ *router }

func (u unix) Route(ctx context.Context, a mta.Address) route.Decision {
	if a.Domain != "unix.test" {
		return u.router.Route(ctx, a)
	}
	if name, ok := strings.CutPrefix(a.Local, "prog-"); ok {
		return route.Decision{Kind: route.Program, Program: name}
	}
	if a.Local == "list" {
		return route.Decision{Kind: route.Alias, Members: []route.Member{
			{Address: a, Decision: route.Decision{Kind: route.Program, Program: "archive"}}, {Address: address("bob@unix.test"), Decision: u.Final(ctx, address("bob@unix.test"))},
		}}
	}
	return u.Final(ctx, a)
}

func (u unix) Final(ctx context.Context, a mta.Address) route.Decision {
	name, extension, _ := strings.Cut(a.Local, "+")
	switch {
	case a.Domain != "unix.test":
		return u.router.Final(ctx, a)
	case name == "list":
		return route.Decision{Kind: route.Refused, Reply: mta.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user here"}}
	}
	return route.Decision{Kind: route.Mailbox, Login: mta.Address{Local: name, Domain: a.Domain}, System: name, Folder: extension}
}

func (w *world) unix() *accounts {
	a := &accounts{forwards: map[string][]asuser.Target{}}
	w.set.Router, w.set.System = unix{w.router}, a
	return a
}

func targets(list ...string) (out []asuser.Target) {
	for _, s := range list {
		kind, value, _ := strings.Cut(s, " ")
		out = append(out, asuser.Target{Kind: kind, Value: value})
	}
	return out
}

func TestUsersOfTheMachineGetTheirMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		w.begin()
		w.send("x@far.test", "alice@unix.test", "bob+lists@unix.test", "prog-fax@unix.test", "list@unix.test", "carol@here.test")
		w.until("finished", time.Hour, w.idle)
		w.close()
		if got, want := a.delivered(), []string{"alice", "archive", "bob", "bob lists", "fax"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := w.local.of("carol@here.test"); len(got) != 1 {
			t.Errorf("carol got %d messages", len(got))
		}
		if n := len(w.remote.recipients()); n != 0 {
			t.Errorf("%d reports went out", n)
		}
	})
}

// An alias that cannot be looked up for a moment is one later on: it gets no mailbox, and nothing bounces.
func TestForwardsToAnAliasThatCannotBeLookedUpNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		r := &blind{unix: unix{w.router}}
		r.away.Store(true)
		w.set.Router = r
		a.forwards["bob"] = targets("mailbox", "address list@unix.test")
		w.begin()
		w.send("x@far.test", "bob@unix.test")
		w.until("tried", time.Minute, func() bool { return len(w.log.named("deferred")) == 1 })
		if got := a.delivered(); len(got) != 0 {
			t.Errorf("got %q while it is away", got)
		}
		r.away.Store(false)
		w.until("finished", 2*time.Hour, w.idle)
		w.close()
		if got, want := a.delivered(), []string{"archive", "bob mailbox"}; !slices.Contains(got, want[0]) || !slices.Contains(got, want[1]) {
			t.Errorf("got %q, want %q among them", got, want)
		}
		if n := len(w.remote.recipients()); n != 0 {
			t.Errorf("%d reports went out", n)
		}
	})
}

// blind cannot look the list up while it is away.
type blind struct {
	unix
	away atomic.Bool
}

func (b *blind) Route(ctx context.Context, a mta.Address) route.Decision {
	if a.Local == "list" && b.away.Load() {
		return route.Decision{Kind: route.Deferred, Reply: mta.Reply{Code: 451, Enhanced: "4.3.0", Text: "recipient lookup failed, try again later"}, Open: true}
	}
	return b.unix.Route(ctx, a)
}

// Each entry of a ~/.forward is delivered once, whatever becomes of the others; what leaves the machine is one message.
func TestEntriesOfForwardHaveTheirOwnFates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		a.forwards["bob"] = targets("mailbox", "program /bin/p 1", "maildir /m/x", "discard", "address one@far.test", "address two@far.test", "address alice@unix.test", "address carol@here.test")
		tries := 0
		a.do = func(r runner.SystemRequest) mta.Outcome {
			if r.Target.Kind == asuser.ToProgram {
				if tries++; tries < 3 {
					return mta.Outcome{Code: 451, Enhanced: "4.3.0", Text: "not now"}
				}
			}
			return mta.Outcome{Status: mta.Delivered}
		}
		w.begin()
		id := w.send("x@far.test", "bob+y@unix.test")
		w.until("finished", time.Hour, w.idle)
		w.close()
		if got, want := a.delivered(), []string{"alice", "bob y mailbox", "bob y maildir /m/x", "bob y program /bin/p 1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := w.remote.recipients(), []string{"one@far.test", "two@far.test"}; !slices.Equal(got, want) || len(w.remote.got) != 1 {
			t.Errorf("got %q in %d messages, want %q in one", got, len(w.remote.got), want)
		}
		if env := w.remote.got[0].Envelope; env.ID != id.Child('X', 0) || env.Sender != address("x@far.test") {
			t.Errorf("got %+v", env)
		}
		if got := w.local.of("carol@here.test"); len(got) != 1 {
			t.Errorf("carol got %d messages", len(got))
		}
	})
}

func TestForwardsInACircleEndInTheMailboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		a.forwards["a"] = targets("address b@unix.test")
		a.forwards["b"] = targets("address c@unix.test", "address b@unix.test")
		a.forwards["c"] = targets("address a@unix.test")
		w.begin()
		w.send("x@far.test", "a@unix.test")
		w.until("finished", time.Hour, w.idle)
		w.close()
		if got, want := a.delivered(), []string{"a mailbox", "b mailbox"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Two users' forwards must not make a million of one message: the second, at each of the first one's addresses, has its share of
// what one message may become.
func TestForwardsOfForwardsDoNotMultiply(t *testing.T) {
	for _, c := range []struct {
		name                   string
		first, nothing, second int // how many of the second's addresses, and how often /dev/null, the first one names
		off, fails             int
	}{
		{"a hundred by a thousand", 100, 0, 1000, 0, 100},
		{"all that is allowed", 1, 999, 10, 10, 0},
		{"one too many", 1, 999, 11, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.unix()
				for n := range c.first {
					a.forwards["a"] = append(a.forwards["a"], targets(fmt.Sprintf("address b+%d@unix.test", n))...)
				}
				a.forwards["a"] = append(a.forwards["a"], slices.Repeat(targets("discard"), c.nothing)...)
				for n := range c.second {
					a.forwards["b"] = append(a.forwards["b"], targets(fmt.Sprintf("address x%d@far.test", n))...)
				}
				w.begin()
				w.send("x@far.test", "a@unix.test")
				w.until("finished", time.Hour, w.idle)
				w.close()
				off := slices.DeleteFunc(w.remote.recipients(), func(to string) bool { return to == "x@far.test" })
				failed := w.log.named("failed")
				if len(off) != c.off || len(failed) != c.fails {
					t.Fatalf("got %d off, %d failed; want %d and %d", len(off), len(failed), c.off, c.fails)
				}
				for _, line := range failed {
					if !strings.Contains(line, "5.2.4") || !strings.Contains(line, "those before it: a") || strings.Contains(line, "reply=~") {
						t.Fatalf("got %s", line)
					}
				}
			})
		})
	}
}

// A row of users, each of whom forwards to the next.
func TestForwardsInARowAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		for n := range 12 {
			a.forwards[fmt.Sprintf("u%d", n)] = targets(fmt.Sprintf("address u%d@unix.test", n+1))
		}
		w.begin()
		w.send("x@far.test", "u0@unix.test", "u3@unix.test")
		w.until("finished", time.Hour, w.idle)
		w.close()
		if failed := w.log.named("failed"); len(failed) != 1 || !strings.Contains(failed[0], "u10@unix.test") {
			t.Errorf("got %q, want u10 failed, the eleventh of its row", failed)
		}
		if got, want := a.delivered(), []string{"u12"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q, the ninth of its row", got, want)
		}
	})
}

// hanging is a System in which deliveries to some users do not end by themselves.
type hanging struct {
	*accounts
	users []string
}

func (h hanging) Deliver(ctx context.Context, r runner.SystemRequest) (mta.Outcome, []asuser.Target) {
	if slices.Contains(h.users, r.User) {
		<-ctx.Done()
		return mta.Outcome{Code: 451, Enhanced: "4.3.0", Text: "killed"}, nil
	}
	return h.accounts.Deliver(ctx, r)
}

func TestUsersWhoseProgramsHangHoldUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		hung := hanging{accounts: a}
		for n := range 10 { // more than there are visits at once
			hung.users = append(hung.users, fmt.Sprintf("hung%c", 'a'+n))
		}
		w.set.System = hung
		w.begin()
		for _, name := range hung.users {
			w.send("x@far.test", name+"@unix.test")
		}
		w.send("x@far.test", "alice@unix.test")
		w.until("alice's", time.Minute, func() bool { return slices.Contains(a.delivered(), "alice") })
		w.close()
	})
}

// A process that a user controls may say anything.
func TestTargetsOfATargetAreNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.unix()
		w.set.System = liar{}
		w.set.Lifetime = time.Hour
		w.begin()
		w.send("x@far.test", "bob@unix.test", "prog-fax@unix.test")
		w.until("finished", 3*time.Hour, w.idle)
		w.close()
		log := strings.Join(w.log.named("failed"), "\n")
		if !strings.Contains(log, "deliver-local names targets of a program") || !strings.Contains(log, "it names other recipients") {
			t.Errorf("got\n%s", log)
		}
		if n := len(w.log.named("expanded")); n != 1 {
			t.Errorf("got %d expansions, want one", n)
		}
	})
}

type liar struct{}

func (liar) Deliver(context.Context, runner.SystemRequest) (mta.Outcome, []asuser.Target) {
	return mta.Outcome{}, targets("program /bin/p")
}

func TestWhatARunLeftIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		w.send("x@far.test", "bob@unix.test")
		w.begin()
		w.until("finished", time.Hour, w.idle)
		w.close()
		if a.looks != 1 || len(a.delivered()) != 1 {
			t.Errorf("got %d looks for %q, want one: an earlier run may have delivered it", a.looks, a.delivered())
		}
	})
}

// A restart between two tries keeps what is done: the expansion is in the spool, and nothing is delivered again.
func TestForwardsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.unix()
		a.forwards["bob"] = targets("mailbox", "program /bin/p", "address one@far.test")
		refuse := true
		a.do = func(r runner.SystemRequest) mta.Outcome {
			if refuse && r.Target.Kind == asuser.ToProgram {
				return mta.Outcome{Code: 451, Enhanced: "4.3.0", Text: "not now"}
			}
			return mta.Outcome{Status: mta.Delivered}
		}
		w.begin()
		w.send("x@far.test", "bob@unix.test")
		w.until("tried", time.Minute, func() bool { return len(a.delivered()) == 1 && len(w.remote.recipients()) == 1 })
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		refuse = false
		a.forwards["bob"] = targets("address two@far.test") // too late for this message
		w.begin()
		w.until("finished", 2*time.Hour, w.idle)
		w.close()
		if got, want := a.delivered(), []string{"bob mailbox", "bob program /bin/p"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := w.remote.recipients(), []string{"one@far.test"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
