package route_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/route"
)

func addr(s string) mta.Address {
	a, err := mta.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

var errDown = errors.New("directory is down")

// users maps an address to its forward= key; "!" makes the lookup fail.
type users map[string]string

func (u users) Lookup(_ context.Context, a mta.Address) (directory.User, error) {
	f, ok := u[strings.ToLower(a.String())]
	switch {
	case !ok:
		return directory.User{}, mta.ErrUnknownUser
	case f == "!":
		return directory.User{}, errDown
	}
	v := directory.User{Address: addr(strings.ToLower(a.String()))}
	for _, s := range strings.Fields(f) {
		v.Forward = append(v.Forward, addr(s))
	}
	return v, nil
}

const aliasText = `# a comment
postmaster: alice
Team: alice, bob,
	carol@far.test   # not a comment

, "odd name"@far.test, team2
team2: alice, Bob, dave@far.test
bob: bob, archive@far.test
"john doe": alice
only@example.test: alice
gone: nobody
self: self
ring1: ring2
ring2: ring1
`

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func options(t *testing.T) route.Options {
	text := strings.Replace(aliasText, "carol@far.test   # not a comment\n\n", "carol@far.test", 1)
	for i := range 12 {
		text += fmt.Sprintf("deep%d: deep%d\n", i, i+1)
	}
	text += "deep12: alice\n"
	file := write(t, text)
	return route.Options{
		Hostname: "host.test", Postmaster: addr("admin@example.test"),
		Domains: []route.Domain{
			{Name: "host.test", Delimiter: "+"},
			{Name: "example.test", Aliases: file, Delimiter: "+"},
			{Name: "other.test", Aliases: file, Delimiter: "-", CatchAll: addr("erin@other.test")},
			{Name: "aka.test", AliasOf: "example.test"},
			{Name: "far-all.test", CatchAll: addr("all@far.test")},
			{Name: "backup.test", Relay: true},
			{Name: "any.test", Relay: true, Any: true},
			{Name: "ask.test", Relay: true, Any: true, Verify: true},
			{Name: "too.test", AliasOf: "ask.test"},
			{Name: "xn--bcher-kva.test"},
		},
		Routes: []route.Route{
			{Domain: "partner.test", Dest: mta.Destination{Host: "mx.partner.test", Port: 2525, TLS: mta.TLSVerify}},
			{Domain: ".partner.test", Discard: true},
			{Domain: "bad.test", Reply: mta.Reply{Code: 550, Enhanced: "5.1.2", Text: "no"}},
			{Domain: "later.test", Reply: mta.Reply{Code: 450, Enhanced: "4.1.2", Text: "later"}},
		},
		Users: users{
			"alice@example.test": "", "bob@example.test": "", "a+b@example.test": "", "down@example.test": "!", "team@example.test": "",
			"fwd@example.test": "bob@far.test", "keep@example.test": "keep@example.test bob@far.test",
			"m1@example.test": "m2@example.test", "m2@example.test": "m1@example.test",
			"erin@other.test": "", "known@backup.test": "", "x@xn--bcher-kva.test": "",
		},
	}
}

func show(d route.Decision) string {
	switch d.Kind {
	case route.Mailbox:
		if d.Folder != "" {
			return "mailbox " + d.Login.String() + " in " + d.Folder
		}
		return "mailbox " + d.Login.String()
	case route.Remote:
		return "remote " + d.Dest.String()
	case route.Alias:
		var list []string
		for _, m := range d.Members {
			list = append(list, m.Address.String()+" "+show(m.Decision))
		}
		return "alias [" + strings.Join(list, "; ") + "]"
	case route.Program:
		return "program " + d.Program
	case route.Discard:
		return "discard"
	}
	return fmt.Sprintf("%s %d %s", d.Kind, d.Reply.Code, d.Reply.Enhanced)
}

func TestDecisions(t *testing.T) {
	r, err := route.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ rcpt, want string }{
		// what must not get through
		{"nobody@example.test", "refused 550 5.1.1"},
		{"down@example.test", "deferred 451 4.3.0"},
		{"self@example.test", "deferred 451 4.3.5"},
		{"ring1@example.test", "deferred 451 4.3.5"},
		{"m1@example.test", "deferred 451 4.3.5"},
		{"deep0@example.test", "deferred 451 4.3.5"},
		{"gone@example.test", "refused 550 5.1.1"},
		{"nobody+x@example.test", "refused 550 5.1.1"},
		{"+x@example.test", "refused 550 5.1.1"},
		{"alice+@example.test", "refused 550 5.1.1"},
		{"unknown@backup.test", "refused 550 5.1.1"},
		{"x@bad.test", "refused 550 5.1.2"},
		{"x@later.test", "deferred 450 4.1.2"},
		{"bob@other.test", "deferred 451 4.3.5"}, // names itself and has no mailbox; catch_all is for names that nothing is known of
		// mailboxes
		{"alice@example.test", "mailbox alice@example.test"},
		{"ALICE@Example.Test", "mailbox alice@example.test"},
		{"alice@aka.test", "mailbox alice@example.test"},
		{"alice+lists@example.test", "mailbox alice@example.test in lists"},
		{"alice+lists+x@example.test", "mailbox alice@example.test in lists+x"},
		{"a+b@example.test", "mailbox a+b@example.test"},
		{"erin-x@other.test", "mailbox erin@other.test in x"},
		{"whoever@other.test", "mailbox erin@other.test"},
		{"x@bücher.test", "mailbox x@xn--bcher-kva.test"},
		{`"john doe"@example.test`, "mailbox alice@example.test"},
		{"only@example.test", "mailbox alice@example.test"},
		{"only@other.test", "mailbox erin@other.test"},
		// aliases and forwards
		{"bob@example.test", "alias [bob@example.test mailbox bob@example.test; archive@far.test remote far.test]"},
		{"fwd@example.test", "alias [bob@far.test remote far.test]"},
		{"keep@example.test", "alias [keep@example.test mailbox keep@example.test; bob@far.test remote far.test]"},
		{"x@far-all.test", "alias [all@far.test remote far.test]"},
		{"team@example.test", `alias [alice@example.test mailbox alice@example.test; bob@example.test mailbox bob@example.test; archive@far.test remote far.test; carol@far.test remote far.test; "odd name"@far.test remote far.test; dave@far.test remote far.test]`},
		// postmaster
		{"postmaster@example.test", "mailbox alice@example.test"},
		{"PostMaster@other.test", "alias [alice@other.test mailbox erin@other.test]"},
		{"postmaster@host.test", "mailbox postmaster@host.test"},
		{"postmaster@far-all.test", "mailbox postmaster@host.test"},
		{"postmaster@backup.test", "remote backup.test"},
		// elsewhere
		{"x@far.test", "remote far.test"},
		{"x@[192.0.2.1]", "remote [192.0.2.1]"},
		{"known@backup.test", "remote backup.test"},
		{"whoever@any.test", "remote any.test"},
		{"x@partner.test", "remote smtp:mx.partner.test:2525"},
		{"x@a.partner.test", "discard"},
		{"x@notpartner.test", "remote notpartner.test"},
	} {
		want := c.want
		if c.rcpt == "PostMaster@other.test" {
			want = "mailbox erin@other.test" // one mailbox is no alias
		}
		if got := show(r.Route(t.Context(), addr(c.rcpt))); got != want {
			t.Errorf("Route(%s)\n got %s\nwant %s", c.rcpt, got, want)
		}
	}
	if got, want := show(r.Route(t.Context(), mta.Address{Local: "postmaster"})), "mailbox postmaster@host.test"; got != want {
		t.Errorf("Route(<postmaster>) = %s, want %s", got, want)
	}
}

func TestConfiguredPostmasterStandsInForAnAbsentOne(t *testing.T) {
	o := options(t)
	for _, c := range []struct {
		postmaster mta.Address
		want       string
	}{
		{addr("alice@example.test"), "mailbox alice@example.test"},
		{addr("bob@example.test"), "alias [bob@example.test mailbox bob@example.test; archive@far.test remote far.test]"},
		{addr("root@far.test"), "alias [root@far.test remote far.test]"},
		{addr("nobody@example.test"), "mailbox postmaster@host.test"},
		{addr("postmaster@host.test"), "mailbox postmaster@host.test"},
		{mta.Address{}, "mailbox postmaster@host.test"},
	} {
		o.Postmaster = c.postmaster
		r, err := route.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(r.Route(t.Context(), addr("postmaster@host.test"))); got != c.want {
			t.Errorf("postmaster %s: got %s, want %s", c.postmaster, got, c.want)
		}
	}
}

func TestMemberIsNotExpandedAgain(t *testing.T) {
	r, err := route.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ rcpt, want string }{
		{"bob@example.test", "mailbox bob@example.test"},
		{"keep@example.test", "mailbox keep@example.test"},
		{"alice+x@example.test", "mailbox alice@example.test in x"},
		{"gone@example.test", "refused 550 5.1.1"},
		{"down@example.test", "deferred 451 4.3.0"},
		{"bob@far.test", "remote far.test"},
	} {
		if got := show(r.Final(t.Context(), addr(c.rcpt))); got != c.want {
			t.Errorf("Final(%s) = %s, want %s", c.rcpt, got, c.want)
		}
	}
}

func TestSmartHostTakesAllThatIsNotOurs(t *testing.T) {
	o := options(t)
	o.SmartHost = mta.Destination{Host: "smart.test", Port: 465, Implicit: true, TLS: mta.TLSVerify, Login: "/login"}
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ rcpt, want string }{
		{"x@far.test", "remote smtps:smart.test:465"},
		{"x@partner.test", "remote smtp:mx.partner.test:2525"},
		{"known@backup.test", "remote backup.test"}, // a backup MX sends to the better ones
		{"alice@example.test", "mailbox alice@example.test"},
	} {
		if got := show(r.Route(t.Context(), addr(c.rcpt))); got != c.want {
			t.Errorf("Route(%s) = %s, want %s", c.rcpt, got, c.want)
		}
	}
}

func TestAcceptance(t *testing.T) {
	r, err := route.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rcpt string
		ours bool
		code int
	}{
		{"nobody@example.test", true, 550},
		{"down@example.test", true, 451},
		{"unknown@backup.test", true, 550},
		{"x@bad.test", false, 550},
		{"x@far.test", false, 0},
		{"alice@example.test", true, 0},
		{"team@example.test", true, 0},
		{"postmaster@host.test", true, 0},
		{"whoever@other.test", true, 0},
		{"known@backup.test", true, 0},
	} {
		got := r.Accept(t.Context(), addr(c.rcpt))
		if got.Ours != c.ours || got.Reply.Code != c.code {
			t.Errorf("Accept(%s) = ours %v, code %d; want %v, %d", c.rcpt, got.Ours, got.Reply.Code, c.ours, c.code)
		}
	}
	if got := r.Accept(t.Context(), mta.Address{Local: "Postmaster"}); !got.Ours || got.Reply.Code != 0 {
		t.Errorf("Accept(<Postmaster>) = %+v, want accepted", got)
	}
}

func TestTheNextHostIsToBeAsked(t *testing.T) {
	r, err := route.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	for rcpt, want := range map[string]string{
		"x@ask.test": "x@ask.test ask.test", "x@TOO.test": "x@ask.test ask.test", "postmaster@ask.test": "postmaster@ask.test ask.test",
		"x@any.test": "", "x@far.test": "", "known@backup.test": "", "alice@example.test": "",
	} {
		got := ""
		if a := r.Accept(t.Context(), addr(rcpt)); a.Ask != nil {
			got = a.Address.String() + " " + a.Ask.Domain
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", rcpt, got, want)
		}
	}
}

func TestAliasWithTooManyMembersWaits(t *testing.T) {
	o := options(t)
	var b strings.Builder
	for part := range 3 {
		fmt.Fprintf(&b, "part%d: ", part)
		for i := range route.MaxMembers / 2 {
			fmt.Fprintf(&b, "u%d-%d@far.test,", part, i)
		}
		b.WriteString("\n")
	}
	o.Domains[1].Aliases = write(t, b.String()+"fits: part0, part1\nmany: part0, part1, part2\n")
	o.Domains[2].Aliases = ""
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Route(t.Context(), addr("fits@example.test")); len(d.Members) != route.MaxMembers {
		t.Errorf("fits: %d members, want %d", len(d.Members), route.MaxMembers)
	}
	if d := r.Route(t.Context(), addr("many@example.test")); d.Kind != route.Deferred {
		t.Errorf("many: %s, want deferred", d.Kind)
	}
}

func TestAliasOfNowhereIsRefused(t *testing.T) {
	for _, target := range []string{"absent.test", "aka.test"} {
		o := options(t)
		o.Domains = append(o.Domains, route.Domain{Name: "new.test", AliasOf: target})
		if _, err := route.New(o); err == nil {
			t.Errorf("alias_of %s was accepted", target)
		}
	}
}

func TestChangedAliasesAreSeenAndBadOnesAreNot(t *testing.T) {
	o := options(t)
	path := o.Domains[1].Aliases
	now := time.Now()
	o.Now = func() time.Time { return now }
	var reports []string
	o.AliasError = func(err error) { reports = append(reports, err.Error()) }
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(want string) {
		t.Helper()
		now = now.Add(time.Second)
		if got := show(r.Route(t.Context(), addr("new@example.test"))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	replace := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask("refused 550 5.1.1")
	replace("new: alice\n")
	ask("mailbox alice@example.test")
	replace("new: |/bin/prog\n")
	ask("mailbox alice@example.test")
	ask("mailbox alice@example.test")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ask("mailbox alice@example.test")
	replace("new: zara@far.test\n")
	ask("alias [zara@far.test remote far.test]")
	replace("new: yara@far.test\n") // same size, perhaps the same tick of the clock
	ask("alias [yara@far.test remote far.test]")
	if len(reports) != 2 || !strings.Contains(reports[0], path+":1: ") || !strings.Contains(reports[1], "no such file") {
		t.Errorf("reports: %q, want one for the program, one for the absent file", reports)
	}
}
