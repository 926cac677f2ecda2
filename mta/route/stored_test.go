package route_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/route"
)

// stored are aliases that stand in no file.
type stored map[string][]string

func (s stored) Alias(_ context.Context, a mta.Address) ([]string, error) {
	if a.Local == "away" {
		return nil, errors.New("database is away")
	}
	return s[a.String()], nil
}

// Aliases that stand in no file come behind those of the domain's file, and before users.
func TestAliasesOfADatabase(t *testing.T) {
	r, err := route.New(route.Options{
		Hostname: "host.test", Programs: map[string]bool{"lists": true},
		Domains: []route.Domain{{Name: "here.test", Delimiter: "+", Aliases: write(t, "both: alice\n")}, {Name: "host.test"}},
		Users:   users{"alice@here.test": "", "bob@here.test": ""},
		Aliases: stored{
			"both@here.test": {"bob"}, "team@here.test": {"alice, carol@far.test", "bob"}, "owner-team@here.test": {"bob"},
			"prog@here.test": {"|lists"}, "bad@here.test": {"alice bob"}, "inc@here.test": {":include:/etc/passwd"},
			"many@here.test": slices.Repeat([]string{"alice"}, route.MaxMembers+1), "alice@here.test": nil, "loop@here.test": {"loop"},
			"lines@here.test": {"alice@here.test\r\nbob"}, "nul@here.test": {"\x00alice"}, "octets@here.test": {"alice\xff@here.test"}, "shell@here.test": {"|/bin/sh -c id"},
			"file@here.test": {"/etc/passwd"}, "path@here.test": {"../../alice@here.test"}, "long@here.test": {strings.Repeat("x", 1<<20)}, "marks@here.test": {"x@!"}, "twice@here.test": {"alice", "ALICE, alice@here.test"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, want string }{
		{"both@here.test", "mailbox"},
		{"team@here.test", "alice@here.test carol@far.test bob@here.test owner=owner-team@here.test"},
		{"team+x@here.test", "alice@here.test carol@far.test bob@here.test owner=owner-team@here.test"},
		{"alice@here.test", "mailbox"},
		{"nobody@here.test", "550"},
		{"away@here.test", "451"},
		{"bad@here.test", "451"},
		{"inc@here.test", "451"},
		{"many@here.test", "451"},
		{"lines@here.test", "451"},
		{"nul@here.test", "451"},
		{"octets@here.test", "451"},
		{"shell@here.test", "451"},
		{"file@here.test", "451"},
		{"path@here.test", "451"},
		{"long@here.test", "451"},
		{"marks@here.test", "451"},
		{"twice@here.test", "mailbox"},
	} {
		d := r.Route(context.Background(), addr(c.to))
		var got []string
		switch {
		case d.Kind == route.Mailbox:
			got = append(got, "mailbox")
		case d.Kind == route.Alias:
			for _, m := range d.Members {
				got = append(got, m.Address.String())
			}
			if !d.Owner.IsNull() {
				got = append(got, "owner="+d.Owner.String())
			}
		case d.Reply.Temporary():
			got = append(got, "451")
		default:
			got = append(got, "550")
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.to, s, d.Cause, c.want)
		}
		if d.Cause != nil && len(d.Cause.Error()) > 300 {
			t.Errorf("%s: a cause of %d octets", c.to, len(d.Cause.Error()))
		}
	}
	if may, err := r.Owns(context.Background(), addr("bob@here.test"), addr("team@here.test")); !may || err != nil {
		t.Errorf("bob as his team: %v, %v", may, err)
	}
	if acc := r.Accept(context.Background(), addr("away@here.test")); !acc.Reply.Temporary() {
		t.Errorf("smtpd says %v of whom nobody can look up now", acc.Reply)
	}
}

// Of whom nobody can tell whether it is an alias must not become a member: what is looked up for a member later is its mailbox alone,
// and an alias has none.
func TestMembersThatCannotBeLookedUpHoldUpTheAlias(t *testing.T) {
	down := "!"
	for what, member := range map[string]string{"an alias": "away@here.test", "a user": "down@here.test", "behind a delimiter": "away+x@here.test", "an included file": "lame@here.test"} {
		r, err := route.New(route.Options{
			Hostname: "host.test",
			Domains:  []route.Domain{{Name: "here.test", Delimiter: "+", Aliases: write(t, "team: bob, "+member+"\nlame: :include:/nonexistent/list\n")}, {Name: "host.test"}},
			Users:    users{"bob@here.test": "", "down@here.test": down}, Aliases: stored{},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := r.Route(context.Background(), addr("team@here.test")); d.Kind != route.Deferred || d.Reply.Code != 451 || !d.Open || d.Cause == nil {
			t.Errorf("%s: got %v %v (%v) with %v, want all to wait", what, d.Kind, d.Reply, d.Cause, d.Members)
		}
	}
}
