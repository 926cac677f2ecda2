package main

import (
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
)

func TestEachRoleOfAListenerCanBeTried(t *testing.T) {
	c := &config.Config{Hostname: "mx.here.test", Postmaster: "postmaster"}
	for _, role := range []string{mta.RoleMX, mta.RoleSubmission, mta.RoleLocal, mta.RoleLMTP} {
		e, err := (&order{role: role}).event(c, nil)
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if e.Role != role || e.Local != (role == mta.RoleLocal) || e.Client.IsValid() == e.Local {
			t.Errorf("%s: got %+v", role, e)
		}
	}
	if e, err := (&order{role: "pop3"}).event(c, nil); err == nil {
		t.Errorf("pop3: got %+v, want it refused", e)
	}
}
