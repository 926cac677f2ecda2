package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// minute is how a table shows a second since 1970.
func minute(sec int64) string { return time.Unix(sec, 0).Format("2006-01-02 15:04") }

func TestMailboxListShowsWhatMailboxesHold(t *testing.T) {
	dir := t.TempDir()
	path, users, mail := filepath.Join(dir, "posthouse.toml"), filepath.Join(dir, "users"), filepath.Join(dir, "mail")
	for name, text := range map[string]string{
		path: fmt.Sprintf("hostname = \"mail.example.org\"\n[domains.\"example.org\"]\n[users]\nfile = %q\n[mailboxes]\npath = \"%s/{domain}/{local}\"\n", users, mail),
		filepath.Join(mail, "example.org/alice/new/1.a.h"):           "seven7\n",
		filepath.Join(mail, "example.org/alice/.Junk/cur/2.a.h:2,S"): "junk\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := func(wantCode int, args ...string) (string, string) {
		t.Helper()
		var out, errOut strings.Builder
		code := execute(t.Context(), append([]string{"mailbox", "list", "-c", path}, args...), nil, &out, &errOut)
		if code != wantCode {
			t.Errorf("%v: got status %d, want %d\n%s%s", args, code, wantCode, &out, &errOut)
		}
		return out.String(), errOut.String()
	}
	if out, _ := list(0, "--json"); out != "[]\n" {
		t.Errorf("no users file: got %q", out)
	}
	if err := os.WriteFile(users, []byte("alice@example.org\nbob@example.org quota=1KB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := list(0)
	for _, want := range []string{"ADDRESS MESSAGES OCTETS QUOTA FULL LAST PATH", "alice@example.org 2 12 - - " + minute(2) + " " + mail + "/example.org/alice", "bob@example.org 0 0 1KB 0% - " + mail + "/example.org/bob"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
	want := fmt.Sprintf("[\n  {\n    \"address\": \"alice@example.org\",\n    \"messages\": 2,\n    \"octets\": 12,\n    \"counted\": 12,\n    \"quota\": 0,\n    \"last\": \""+time.Unix(2, 0).Format(time.RFC3339)+"\",\n    \"path\": \"%s/example.org/alice\"\n  },", mail)
	if out, _ := list(0, "--json"); !strings.HasPrefix(out, want) {
		t.Errorf("got %s\nwant it to begin with %s", out, want)
	}
	// One mailbox that cannot be read hides no other.
	if err := os.WriteFile(filepath.Join(mail, "example.org/bob"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut := list(exitIO)
	if !strings.Contains(out, "alice@example.org") || strings.Contains(out, "bob") || !strings.Contains(errOut, "mailbox of bob@example.org: ") {
		t.Errorf("got %q and %q, want alice's mailbox, and an error for bob's", out, errOut)
	}
	if out, errOut := list(exitNoUser, "x@example.org"); !strings.Contains(errOut, "x@example.org: no such user") || out != "" {
		t.Errorf("an unknown user: got %q and %q", out, errOut)
	}
	if out, _ := list(0, "Alice@example.org"); !strings.Contains(out, "alice@example.org") || strings.Contains(out, "bob") {
		t.Errorf("one user: got %q", out)
	}
	// A users file that cannot be read is no empty one.
	if err := os.Chmod(users, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--json"}} {
		if out, errOut := list(exitIO, args...); out != "" || !strings.Contains(errOut, users) {
			t.Errorf("%v: got %q and %q, want an error alone", args, out, errOut)
		}
	}
}
