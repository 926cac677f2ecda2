package route_test

import (
	"context"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/route"
)

// accounts gives a domain the machine's users alice and bob.
type accounts struct{ users }

func (a accounts) Lookup(ctx context.Context, to mta.Address) (directory.User, error) {
	name := strings.ToLower(to.Local)
	switch {
	case to.Domain != "unix.test":
		return a.users.Lookup(ctx, to)
	case name != "alice" && name != "bob":
		return directory.User{}, mta.ErrUnknownUser
	}
	return directory.User{Address: mta.Address{Local: name, Domain: to.Domain}, System: name}, nil
}

func TestUsersOfTheMachineAndPrograms(t *testing.T) {
	o := options(t)
	aliases := write(t, "lists: |mlmmj\nboth: |mlmmj, \"|MLMMJ\", |mlmmj, alice, x@far.test\nabsent: |absent\nwww: bob\nbob: bob, |mlmmj\nnest: lists, both\n")
	o.Domains = append(o.Domains, route.Domain{Name: "unix.test", Aliases: aliases, Delimiter: "+"})
	o.Users, o.Programs = accounts{o.Users.(users)}, map[string]bool{"mlmmj": true, "MLMMJ": true}
	o.Routes = append([]route.Route{{Domain: "fax.test", Program: "mlmmj"}}, o.Routes...)
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	full := func(d route.Decision) string {
		if d.System != "" {
			return show(d) + " of " + d.System
		}
		return show(d)
	}
	for to, want := range map[string]string{
		"alice@unix.test":       "mailbox alice@unix.test of alice",
		"Alice+lists@UNIX.test": "mailbox alice@unix.test in lists of alice",
		"carol@unix.test":       "refused 550 5.1.1",
		"lists@unix.test":       "program mlmmj",
		"www@unix.test":         "alias [bob@unix.test mailbox bob@unix.test; bob@unix.test program mlmmj]",
		"both@unix.test":        "alias [both@unix.test program mlmmj; both@unix.test program MLMMJ; alice@unix.test mailbox alice@unix.test; x@far.test remote far.test]",
		"nest@unix.test":        "alias [lists@unix.test program mlmmj; both@unix.test program MLMMJ; alice@unix.test mailbox alice@unix.test; x@far.test remote far.test]",
		"absent@unix.test":      "deferred 451 4.3.5",
		"a@fax.test":            "program mlmmj",
	} {
		if got := full(r.Route(t.Context(), addr(to))); got != want {
			t.Errorf("%s: got %s, want %s", to, got, want)
		}
	}
	for _, m := range r.Route(t.Context(), addr("both@unix.test")).Members[:2] {
		if m.Program != "mlmmj" && m.Program != "MLMMJ" {
			t.Errorf("got the program %q", m.Program)
		}
	}
	if d := r.Final(t.Context(), addr("alice@unix.test")); d.System != "alice" {
		t.Errorf("got %+v, want alice of the machine", d)
	}
	if may, err := r.Owns(t.Context(), addr("bob@unix.test"), addr("www@unix.test")); !may || err != nil {
		t.Errorf("bob as www: got %v, %v", may, err)
	}
	if may, _ := r.Owns(t.Context(), addr("bob@unix.test"), addr("lists@unix.test")); may {
		t.Error("bob may send as a program's alias")
	}
	if faults := strings.Join(r.Check(t.Context()), "\n"); !strings.Contains(faults, "there is no [programs.absent]") {
		t.Errorf("got %s, want the absent program told", faults)
	}
}
