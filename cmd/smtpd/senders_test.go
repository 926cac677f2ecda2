package main

import (
	"context"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/route"
)

type oneUser struct{}

func (oneUser) Lookup(_ context.Context, a mta.Address) (directory.User, error) {
	if alice := (mta.Address{Local: "alice", Domain: "here.test"}); a == alice {
		return directory.User{Address: alice, SendAs: []string{"@project.test"}}, nil
	}
	return directory.User{}, mta.ErrUnknownUser
}

func TestSenders(t *testing.T) {
	r, err := route.New(route.Options{Hostname: "mx.test", Users: oneUser{}, Domains: []route.Domain{{Name: "here.test", Delimiter: "+"}, {Name: "mx.test"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSenders(r, &config.Config{Origin: "here.test", Hostname: "mx.test", SMTPD: config.SMTPD{TrustedUsers: []string{"root"}}})
	for _, c := range []struct {
		role, login, as string
		want            bool
	}{
		{mta.RoleSubmission, "alice@here.test", "bob@here.test", false},
		{mta.RoleSubmission, "alice", "alice@here.test", false}, // no login that the directory gives
		{mta.RoleSubmission, "root", "x@anywhere.test", false},  // trusted on the local socket alone
		{mta.RoleLocal, "daemon", "alice@here.test", false},
		{mta.RoleLocal, "daemon", "daemon@elsewhere.test", false},
		{mta.RoleSubmission, "alice@here.test", "alice+x@here.test", true},
		{mta.RoleSubmission, "alice@here.test", "x@project.test", true},
		{mta.RoleLocal, "root", "x@anywhere.test", true},
		{mta.RoleLocal, "daemon", "daemon@here.test", true},
		{mta.RoleLocal, "daemon", "daemon@mx.test", true},
		{mta.RoleLocal, "alice", "x@project.test", true}, // a user of that name at the origin
	} {
		as, err := mta.ParseAddress(c.as)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.MaySend(t.Context(), c.role, c.login, as); got != c.want || err != nil {
			t.Errorf("%s: %s as %s: got %v, %v; want %v", c.role, c.login, c.as, got, err, c.want)
		}
	}
}
