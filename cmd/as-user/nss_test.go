package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// byNSS has as-user ask the name service too.
const byNSS = "[mailboxes]\nsystem_accounts = \"nss\"\n"

func TestUsersOfTheNameService(t *testing.T) {
	needNSS(t)
	m := start(t, byNSS)
	for user, want := range map[string]string{
		"erin":  "20010 20010 20010 30001 /nowhere/erin\n",
		"alice": "20001 20001 20001 30000 /nowhere/alice\n", // who is in the files is asked for nowhere else
	} {
		if got, status, err := m.deliver(user, `echo "$(id -u) $(id -g) $(id -G) $HOME"`); got != want || status != 0 || err != nil {
			t.Errorf("%s: got %q, %d, %v; want %q", user, got, status, err, want)
		}
	}
	for user, why := range map[string]string{"evil": "unknown user", "low": "uid 999", "20002": "unknown user", "20011": "unknown user", "stranger": "unknown user"} {
		if got, _, err := m.deliver(user, "id"); !errors.Is(err, asuser.ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %q, %v; want it refused for %q", user, got, err, why)
		}
	}
	if err := m.client.Check(t.Context(), "erin", password); !errors.Is(err, mta.ErrCredentials) {
		t.Errorf("a password that is nowhere: got %v, want %v", err, mta.ErrCredentials)
	}
}

func TestUsersOfTheNameServiceAreNobodyWithoutIt(t *testing.T) {
	needNSS(t)
	m := start(t)
	if got, _, err := m.deliver("erin", "id"); !errors.Is(err, asuser.ErrRefused) {
		t.Errorf("got %q, %v; want it refused", got, err)
	}
}

// TestANameServiceThatHangsHoldsUpItsOwnUsersAlone has a getent that does not answer.
func TestANameServiceThatHangsHoldsUpItsOwnUsersAlone(t *testing.T) {
	m := start(t, byNSS)
	m.write("hangs", "", 0o644)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error)
	in, out, output := m.pipes("id")
	defer output.Close()
	go func() {
		_, err := m.client.Deliver(ctx, "erin", in, out)
		asked <- err
	}()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(m.dir, "hung")); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("it is not asked for\n%s", m.log)
		}
	}
	if got, _, err := m.deliver("bob", "id -u"); got != "20002\n" || err != nil {
		t.Errorf("bob: got %q, %v", got, err)
	}
	if err := m.client.Check(t.Context(), "bob", password); err != nil {
		t.Errorf("bob's password: got %v", err)
	}
	cancel()
	if err := <-asked; err == nil || errors.Is(err, asuser.ErrRefused) {
		t.Errorf("erin: got %v, want her to wait", err)
	}
}

// TestNobodyHasATurnWhileTheNameServiceIsAsked: all turns are taken, and who is not in the files hears of the name service all
// the same. Were it the other way round, those who wait for the name service would keep the passwords of others from a check.
func TestNobodyHasATurnWhileTheNameServiceIsAsked(t *testing.T) {
	s := newServer(maillog.New(slog.DiscardHandler))
	for range cap(s.checks) {
		s.checks <- struct{}{}
	}
	set := &settings{cfg: &config.Config{}, from: accounts.New(true)}
	set.from.Program = "/bin/false"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.checkPassword(ctx, set, "erin", password); err == nil || !strings.Contains(err.Error(), "/bin/false") {
		t.Errorf("got %v, want to hear of the name service", err)
	}
}
