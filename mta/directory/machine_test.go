package directory_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/accounts"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// machine has the accounts of whatever machine this is, of which daemon (1) and nobody (65534) are on all.
func machine(t *testing.T, check directory.Checker) directory.Machine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("daemon@virtual.test {PLAIN}secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := directory.Open(path, directory.Options{DomainAlias: map[string]string{"aka.test": "unix.test"}})
	if err != nil {
		t.Fatal(err)
	}
	return directory.Machine{Users: f, Domains: map[string]bool{"unix.test": true}, MinUID: 1, Check: check}
}

func TestAccountsOfTheMachineAreUsers(t *testing.T) {
	m := machine(t, nil)
	for to, want := range map[string]string{
		"daemon@unix.test": "daemon", "Daemon@unix.test": "daemon", "daemon@aka.test": "daemon", "daemon@virtual.test": "",
	} {
		if u, err := m.Lookup(t.Context(), address(t, to)); err != nil || u.System != want || u.Address.Local != "daemon" {
			t.Errorf("%s: got %+v, %v; want the account %q", to, u, err, want)
		}
	}
	for _, to := range []string{"root@unix.test", "nobody@unix.test", "no-such-user@unix.test", "root@virtual.test", "daemon@other.test"} {
		if u, err := m.Lookup(t.Context(), address(t, to)); !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("%s: got %+v, %v; want nobody", to, u, err)
		}
	}
	m.MinUID = 1000
	if u, err := m.Lookup(t.Context(), address(t, "daemon@unix.test")); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("below system_min_uid: got %+v, %v; want nobody", u, err)
	}
}

// A name service that does not answer holds up nobody who is in the files, however the name is written.
func TestAccountsOfTheFilesNeedNoNameService(t *testing.T) {
	m := machine(t, nil)
	m.From = accounts.New(true)
	m.From.Program = "/bin/false"
	for _, to := range []string{"daemon@unix.test", "Daemon@unix.test"} {
		if u, err := m.Lookup(t.Context(), address(t, to)); err != nil || u.System != "daemon" {
			t.Errorf("%s: got %+v, %v; want the account daemon", to, u, err)
		}
	}
	if u, err := m.Lookup(t.Context(), address(t, "no-such-user@unix.test")); err == nil || errors.Is(err, directory.ErrUnknown) {
		t.Errorf("somebody else: got %+v, %v; want to hear of the name service", u, err)
	}
}

func TestAMachineOfTheNextConfiguration(t *testing.T) {
	c := &config.Config{}
	c.Mailboxes.SystemAccounts = "nss"
	m := directory.NewMachine(c, nil, nil)
	if next := directory.NewMachine(c, nil, m.From); next.From != m.From {
		t.Error("what is known of the name service is forgotten")
	}
	c.Mailboxes.SystemAccounts = "files"
	if next := directory.NewMachine(c, nil, m.From); next.From == m.From {
		t.Error("the name service is asked though it no longer should be")
	}
}

func TestLoginsOfTheMachine(t *testing.T) {
	asked := ""
	m := machine(t, func(_ context.Context, name, password string) error {
		if asked += name + " "; password != "open" {
			return mta.ErrCredentials
		}
		return nil
	})
	for _, c := range []struct{ login, password, want string }{
		{"daemon@unix.test", "open", "daemon@unix.test"},
		{"DAEMON@aka.test", "open", "daemon@unix.test"},
		{"daemon", "open", "daemon@unix.test"},
		{"daemon@virtual.test", "secret", "daemon@virtual.test"},
		{"daemon@unix.test", "secret", ""},
		{"Stranger@unix.test", "wrong", ""},
	} {
		got, err := m.Authenticate(t.Context(), c.login, c.password)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, mta.ErrCredentials) {
			t.Errorf("%s: got %q, %v; want %q", c.login, got, err, c.want)
		}
	}
	if want := "daemon daemon daemon daemon stranger "; asked != want {
		t.Errorf("asked for %q, want %q: also who is unknown takes time", asked, want)
	}
	if scram, _ := m.OffersScram(); scram {
		t.Error("SCRAM is offered, which accounts cannot use")
	}
	if _, _, err := m.Scram(t.Context(), "daemon@unix.test"); !errors.Is(err, mta.ErrTransition) {
		t.Errorf("SCRAM: got %v, want %v", err, mta.ErrTransition)
	}
	m.Check = nil
	if _, err := m.Authenticate(t.Context(), "daemon", "open"); !errors.Is(err, mta.ErrCredentials) {
		t.Errorf("without a check: got %v, want a refusal", err)
	}
}
