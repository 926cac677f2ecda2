package route_test

import (
	"context"
	"errors"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/route"
)

// sendAs gives alice a send_as key.
type sendAs struct{ users }

func (u sendAs) Lookup(ctx context.Context, a mta.Address) (directory.User, error) {
	v, err := u.users.Lookup(ctx, a)
	if v.Address == addr("alice@here.test") {
		v.SendAs = []string{"boss@far.test", "@project.test"}
	}
	return v, err
}

func TestOwner(t *testing.T) {
	r, err := route.New(route.Options{
		Hostname: "host.test", Postmaster: addr("alice@here.test"),
		Domains: []route.Domain{
			{Name: "here.test", Delimiter: "+", Aliases: write(t, `team: alice, bob, carol@far.test
sales: team
loop: ring
ring: loop
carol: bob
`)},
			{Name: "other.test", AliasOf: "here.test"},
			{Name: "all.test", CatchAll: addr("bob@here.test")},
			{Name: "relay.test", Relay: true, Any: true},
			{Name: "host.test"},
		},
		Users: sendAs{users{"alice@here.test": "", "bob@here.test": "", "carol@here.test": "", "dave@here.test": "alice@here.test", "down@here.test": "!", "real@all.test": ""}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		login, as string
		want      bool
	}{
		{"alice@here.test", "bob@here.test", false},
		{"alice@here.test", "nobody@here.test", false},
		{"alice@here.test", "alice@far.test", false},
		{"alice@here.test", "alice@relay.test", false},
		{"alice@here.test", "dave@here.test", false}, // who only forwards to her
		{"alice@here.test", "bob+x@here.test", false},
		{"alice@here.test", "loop@here.test", false},
		{"alice@here.test", "x@all.test", false},
		{"alice@here.test", "other@far.test", false},
		{"bob@here.test", "boss@far.test", false},
		{"bob@here.test", "postmaster@here.test", false},
		{"bob@here.test", "real@all.test", false},
		{"nobody@here.test", "alice@here.test", false},
		{"alice@here.test", "ALICE@here.test", true},
		{"alice@here.test", "alice@other.test", true},
		{"alice@other.test", "alice@here.test", true},
		{"alice@here.test", "alice+lists@here.test", true},
		{"alice@here.test", "team@here.test", true},
		{"alice@here.test", "team+x@here.test", true},
		{"alice@here.test", "sales@other.test", true},
		{"alice@here.test", "boss@far.test", true},
		{"alice@here.test", "any@project.test", true},
		{"alice@here.test", "postmaster@here.test", true},
		{"bob@here.test", "carol@here.test", true}, // an alias takes her mail
		{"carol@here.test", "carol@here.test", true},
		{"bob@here.test", "x@all.test", true},
		{"dave@here.test", "dave@here.test", true},
		{"root@host.test", "root@host.test", true}, // no user: a login of the machine
		{"root@nowhere.test", "root@nowhere.test", true},
	} {
		if got, err := r.Owns(t.Context(), addr(c.login), addr(c.as)); got != c.want || err != nil {
			t.Errorf("%s as %s: got %v, %v; want %v", c.login, c.as, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"down@here.test", "alice@here.test"}, {"alice@here.test", "down@here.test"}} {
		if got, err := r.Owns(t.Context(), addr(c[0]), addr(c[1])); got || !errors.Is(err, errDown) {
			t.Errorf("%s as %s: got %v, %v; want %v", c[0], c[1], got, err, errDown)
		}
	}
}
