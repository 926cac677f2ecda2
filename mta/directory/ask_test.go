package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// TestAProgramKnowsThePasswords: the users file says who there is, and nothing that it says of passwords counts.
func TestAProgramKnowsThePasswords(t *testing.T) {
	program := filepath.Join(t.TempDir(), "checkpassword")
	script := "#!/bin/sh\nseen=$(tr '\\0' ' ' <&3)\necho \"$seen\" >>\"$1\"\ncase $seen in *' fault '*) exit 111 ;; *' right '*) exit 0 ;; esac\nexit 1\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	seen := program + ".seen"
	f := open(t, usersFile(t, "Alice@example.org\nbob@example.org {PLAIN}secret\ncarol@example.org disabled=yes\n"),
		directory.Options{DefaultDomain: "example.org", Program: []string{program, seen}, Scram: directory.ScramAlways})
	for _, c := range []struct {
		login, password string
		want            error
		identity, asked string
	}{
		{"alice@example.org", "right", nil, "Alice@example.org", "Alice@example.org right"},
		{"ALICE", "right", nil, "Alice@example.org", "Alice@example.org right"},
		{"bob", "secret", mta.ErrCredentials, "", "bob@example.org secret"},
		{"bob", "", mta.ErrCredentials, "", ""},
		{"carol", "right", mta.ErrCredentials, "", "posthouse:nobody right"},
		{"dave", "right", mta.ErrCredentials, "", "posthouse:nobody right"},
		{"dave@elsewhere.example", "right", mta.ErrCredentials, "", "posthouse:nobody right"},
		{"alice", strings.Repeat("right ", 41), mta.ErrCredentials, "", ""},
		{"al\x00ice", "right", mta.ErrCredentials, "", ""},
		{"alice", "ri\x00ght", mta.ErrCredentials, "", ""},
		{"alice", "fault", nil, "", "Alice@example.org fault"},
	} {
		_ = os.Remove(seen)
		identity, err := f.Authenticate(t.Context(), c.login, c.password)
		if fault := c.password == "fault"; identity != c.identity || !fault && !errors.Is(err, c.want) || fault && (err == nil || errors.Is(err, mta.ErrCredentials)) {
			t.Errorf("%q %.20q: got %q, %v; want %q, %v", c.login, c.password, identity, err, c.identity, c.want)
		}
		b, err := os.ReadFile(seen)
		if asked := string(b); (err != nil) != (c.asked == "") || !strings.HasPrefix(asked, c.asked) {
			t.Errorf("%q %.20q: the program was asked %q, want %q", c.login, c.password, asked, c.asked)
		}
	}
	if scram, plus := f.OffersScram(); scram || plus {
		t.Error("SCRAM is offered, which needs verifiers")
	}
}
