package route_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/route"
)

func TestListHasItsOwner(t *testing.T) {
	o := options(t)
	o.Domains[1].Aliases = write(t, "list: a@far.test, b@far.test\nowner-list: alice\nother: a@far.test\nowner-fwd: alice\nowner-owner-list: bob\n")
	o.Domains[2].Aliases = ""
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, owner string }{
		{"other@example.test", ""},
		{"fwd@example.test", ""}, // a user who forwards is no list
		{"list@example.test", "owner-list@example.test"},
		{"LIST+x@aka.test", "owner-list@example.test"},
		{"owner-list@example.test", "owner-owner-list@example.test"}, // though it is one mailbox
	} {
		if d := r.Route(t.Context(), addr(c.to)); !strings.EqualFold(d.Owner.String(), c.owner) {
			t.Errorf("%s: got owner %q, want %q", c.to, d.Owner, c.owner)
		}
	}
}

func TestAnAliasMayMeanAMailboxOrNobody(t *testing.T) {
	o := options(t)
	o.Domains[1].Aliases = write(t, "none: /dev/null\nsome: alice, /dev/null, x@far.test\nalice: \\alice, bob, none\nbob: \\Bob, \\alice\ngone: \\gone, alice\nfar: \\x@far.test\ntagged: \\alice+x\n")
	o.Domains[2].Aliases = ""
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, want string }{
		{"none@example.test", "discard"},
		{"some@example.test", "alias [alice@example.test mailbox alice@example.test; Bob@example.test mailbox bob@example.test; none@example.test discard; x@far.test remote far.test]"},
		{"alice@example.test", "alias [alice@example.test mailbox alice@example.test; Bob@example.test mailbox bob@example.test; none@example.test discard]"},
		{"bob@example.test", "alias [Bob@example.test mailbox bob@example.test; alice@example.test mailbox alice@example.test]"},
		{"gone@example.test", "alias [gone@example.test refused 550 5.1.1; alice@example.test mailbox alice@example.test; Bob@example.test mailbox bob@example.test; none@example.test discard]"},
		{"far@example.test", "alias [x@far.test remote far.test]"},
		{"tagged@example.test", "mailbox alice@example.test in x"},
	} {
		if got := show(r.Route(t.Context(), addr(c.to))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.to, got, c.want)
		}
		if acc := r.Accept(t.Context(), addr(c.to)); acc.Reply.Code != 0 {
			t.Errorf("%s: got %v, want it accepted", c.to, acc.Reply)
		}
	}
	for _, c := range []struct {
		login, address string
		want           bool
	}{{"alice", "bob", true}, {"bob", "bob", true}, {"bob", "tagged", false}, {"alice", "tagged", false}, {"alice", "none", false}} {
		if got, err := r.Owns(t.Context(), addr(c.login+"@example.test"), addr(c.address+"@example.test")); err != nil || got != c.want {
			t.Errorf("%s as %s: got %v, %v; want %v", c.login, c.address, got, err, c.want)
		}
	}
}

func TestRootIsAlwaysThere(t *testing.T) {
	o := options(t)
	o.Origin = "aka.test"
	o.Postmaster = addr("alice@example.test")
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, want string }{
		{"root@other.test", "mailbox erin@other.test"}, // its catch_all
		{"root@backup.test", "refused 550 5.1.1"},
		{"root@host.test", "mailbox alice@example.test"},
		{"Root@example.test", "mailbox alice@example.test"},
		{"root@aka.test", "mailbox alice@example.test"},
	} {
		if got := show(r.Route(t.Context(), addr(c.to))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.to, got, c.want)
		}
	}
	o.Origin, o.Postmaster = "", addr("nobody@example.test")
	if r, err = route.New(o); err != nil {
		t.Fatal(err)
	}
	if got, want := show(r.Route(t.Context(), addr("root@host.test"))), "mailbox postmaster@host.test"; got != want {
		t.Errorf("root without a postmaster: got %s, want %s", got, want)
	}
	if got, want := show(r.Route(t.Context(), addr("root@example.test"))), "refused 550 5.1.1"; got != want {
		t.Errorf("root elsewhere: got %s, want %s", got, want)
	}
}

// TestAMemberThatIsPostmasterHasAReader: when it comes to delivery, too, where Final is asked.
func TestAMemberThatIsPostmasterHasAReader(t *testing.T) {
	o := options(t)
	o.Postmaster = addr("alice@example.test")
	o.Domains[1].Aliases, o.Domains[2].Aliases = write(t, "root: postmaster, bob, abuse, x@far.test\n"), ""
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Route(t.Context(), addr("root@example.test"))
	if got, want := show(d), "alias [alice@example.test mailbox alice@example.test; bob@example.test mailbox bob@example.test; x@far.test remote far.test]"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	for _, m := range d.Members {
		if got, want := show(r.Final(t.Context(), m.Address)), show(m.Decision); got != want {
			t.Errorf("%s: got %s in the end, want %s", m.Address, got, want)
		}
	}
}

func TestAbuseIsPostmastersWhereItIsNobodys(t *testing.T) {
	o := options(t)
	o.Postmaster = addr("alice@example.test")
	for _, c := range []struct{ aliases, to, want string }{
		{"", "abuse@backup.test", "refused 550 5.1.1"}, // not ours
		{"", "abuses@host.test", "refused 550 5.1.1"},
		{"", "Abuse@host.test", "mailbox alice@example.test"},
		{"", "abuse@aka.test", "mailbox alice@example.test"},
		{"", "abuse@other.test", "mailbox erin@other.test"}, // its catch_all
		{"abuse: bob\n", "abuse@example.test", "mailbox bob@example.test"},
		{"noc: abuse\n", "noc@example.test", "mailbox alice@example.test"},
	} {
		o.Domains[1].Aliases, o.Domains[2].Aliases = write(t, c.aliases), ""
		r, err := route.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(r.Route(t.Context(), addr(c.to))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.to, got, c.want)
		}
		if yes, err := r.Owns(t.Context(), addr("alice@example.test"), addr("abuse@host.test")); !yes || err != nil {
			t.Errorf("postmaster sends as abuse: got %v, %v", yes, err)
		}
	}
}

func TestCheckFindsWhatIsWrongWithAliases(t *testing.T) {
	o := options(t)
	o.Domains[1].Aliases = write(t, "ok: alice, x@far.test\nring1: ring2\nring2: ring1\nself: self\ngone: nobody\nhalf: alice, nobody, a@bad.test\nx@elsewhere.test: alice\nx@aka.test: nobody\n")
	o.Domains[2].Aliases = ""
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(r.Check(t.Context()), "\n") + "\n"
	for _, want := range []string{
		"alias ring1@example.test: alias loop: ring2@example.test leads back to ring1@example.test\n",
		"alias ring2@example.test: ",
		"alias self@example.test: ",
		"alias gone@example.test: no such user here\n",
		"alias half@example.test: nobody@example.test: no such user here\n",
		"alias half@example.test: a@bad.test: no\n",
		"alias x@elsewhere.test: elsewhere.test is no domain of this host\n",
		"alias x@example.test: no such user here\n",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("no %q, or more than one, in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 8 {
		t.Errorf("got %d faults, want 8:\n%s", n, got)
	}
}

func TestChangedIncludeIsSeen(t *testing.T) {
	o := options(t)
	list := filepath.Join(t.TempDir(), "list")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("alice\n")
	o.Domains[1].Aliases = write(t, "new: :include:"+list+"\n")
	now := time.Now().Add(time.Hour) // all of it has long settled
	o.Now = func() time.Time { return now }
	reports := 0
	o.AliasError = func(error) { reports++ }
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"alice\n", "mailbox alice@example.test"},
		{"x@far.test, # no comment here\n", "mailbox alice@example.test"},
		{"xx@far.test\n", "alias [xx@far.test remote far.test]"},
	} {
		put(c.text)
		now = now.Add(time.Second)
		if got := show(r.Route(t.Context(), addr("new@example.test"))); got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
	if reports != 1 {
		t.Errorf("got %d reports, want 1", reports)
	}
}

// TestAFaultyIncludeHoldsUpItsAliasAlone: the file may be a user's, who must not keep the mail system from starting.
func TestAFaultyIncludeHoldsUpItsAliasAlone(t *testing.T) {
	for _, text := range []string{"|garbage\n", "no address, at all\n", ""} {
		o := options(t)
		list := filepath.Join(t.TempDir(), "list")
		if text != "" {
			if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file := write(t, "list: alice, :include:"+list+"\nother: alice\n")
		o.Domains[1].Aliases = file
		now := time.Now().Add(time.Hour)
		o.Now = func() time.Time { return now }
		reports := 0
		o.AliasError = func(error) { reports++ }
		r, err := route.New(o)
		if err != nil {
			t.Fatal(err)
		}
		want := func(local, want string) {
			t.Helper()
			if got := show(r.Route(t.Context(), addr(local+"@example.test"))); !strings.HasPrefix(got, want) {
				t.Errorf("%q: %s: got %s, want %s", text, local, got, want)
			}
		}
		want("list", "deferred 451")
		want("other", "mailbox alice@example.test")
		if acc := r.Accept(t.Context(), addr("list@example.test")); !acc.Reply.Temporary() {
			t.Errorf("%q: smtpd says %v", text, acc.Reply)
		}
		if faults := r.Check(t.Context()); len(faults) == 0 || !strings.Contains(strings.Join(faults, " "), list) {
			t.Errorf("%q: the check says %q", text, faults)
		}
		// What the operator changes counts all the same, and so does a mended list.
		now = now.Add(2 * time.Second)
		whole := write(t, "list: alice, :include:"+list+"\nother: alice\nmore: alice\n")
		if err := os.Rename(whole, file); err != nil {
			t.Fatal(err)
		}
		want("more", "mailbox alice@example.test")
		if reports != 1 {
			t.Errorf("%q: got %d reports, want 1", text, reports)
		}
		if err := os.WriteFile(list, []byte("x@far.test\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
		want("list", "alias [alice@example.test")
	}
}

// TestWhoIsNewIsNoStranger: smtpd has accepted him, and may have looked later than queue-runner.
func TestWhoIsNewIsNoStranger(t *testing.T) {
	o := options(t)
	o.Domains[1].Aliases = write(t, "old: alice\n")
	o.Domains[2].Aliases = ""
	now := time.Now()
	o.Now = func() time.Time { return now }
	looks := &looked{users: o.Users.(users)}
	o.Users = looks
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text, want string
		looks      int
	}{
		{"old: alice\n", "refused 550 5.1.1", 1},
		{"old: alice\nnew: alice\n", "mailbox alice@example.test", 2},
		{"old: alice\nnew: bob\n", "mailbox alice@example.test", 2}, // whom it knows it does not look for twice
	} {
		whole := write(t, c.text)
		if err := errors.Join(os.Chtimes(whole, now, now.Add(-time.Hour)), os.Rename(whole, o.Domains[1].Aliases)); err != nil {
			t.Fatal(err)
		}
		if got := show(r.Route(t.Context(), addr("new@example.test"))); got != c.want || looks.n != c.looks {
			t.Errorf("%q: got %s and %d looks, want %s and %d", c.text, got, looks.n, c.want, c.looks)
		}
		now = now.Add(time.Millisecond)
	}
	if r.Final(t.Context(), addr("nobody@example.test")); looks.n != 3 {
		t.Errorf("a member: got %d looks, want another one", looks.n)
	}
}

// looked counts how often it is told to look again.
type looked struct {
	users
	n int
}

func (l *looked) Recheck() { l.n++ }

// TestAliasesThatAreBeingWrittenWait: half a file has no fault, and lacks aliases.
func TestAliasesThatAreBeingWrittenWait(t *testing.T) {
	const young, old = 900 * time.Millisecond, time.Second
	const before, after = "alias [x@far.test remote far.test]", "alias [y@far.test remote far.test]"
	for _, c := range []struct {
		what   string
		list   bool // it is the included file
		text   string
		rename bool
		age    time.Duration // of the change
		want   string
	}{
		{"emptied", false, "", false, young, before},
		{"emptied, and left so", false, "", false, old, "refused 550 5.1.1"},
		{"written", false, "new: y@far.test\n", false, young, before},
		{"written, and left alone", false, "new: y@far.test\n", false, old, after},
		{"an included file written", true, "y@far.test\n", false, young, before},
		{"an included file left alone", true, "y@far.test\n", false, old, after},
		{"renamed into its place", false, "new: y@far.test\n", true, young, after},
		{"an included file renamed", true, "y@far.test\n", true, young, after},
	} {
		o := options(t)
		list := write(t, "x@far.test\n")
		path := write(t, "new: :include:"+list+"\n")
		o.Domains[1].Aliases = path
		now := time.Now().Add(-time.Hour)
		o.Now = func() time.Time { return now }
		r, err := route.New(o)
		if err != nil {
			t.Fatal(err)
		}
		long := now.Add(-time.Hour)
		if err := errors.Join(os.Chtimes(path, long, long), os.Chtimes(list, long, long)); err != nil {
			t.Fatal(err)
		}
		if c.list {
			path = list
		}
		if c.rename { // the inode changes once more after the content
			whole := write(t, c.text)
			err = errors.Join(os.Chtimes(whole, time.Now(), time.Now().Add(-time.Millisecond)), os.Rename(whole, path))
		} else {
			err = os.WriteFile(path, []byte(c.text), 0o600)
		}
		st, serr := os.Stat(path)
		if err := errors.Join(err, serr); err != nil {
			t.Fatal(err)
		}
		now = st.ModTime().Add(c.age)
		if got := show(r.Route(t.Context(), addr("new@example.test"))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}
