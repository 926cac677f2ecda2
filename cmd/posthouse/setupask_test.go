package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// terminal is one at which somebody has typed already: the program sees the lines one after the other.
func terminal(t *testing.T, typed string) *os.File {
	t.Helper()
	keys, tty := openPTY(t)
	if _, err := keys.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	return tty
}

// askedBySetup are the questions of a run at a terminal, in their order and without what is in brackets.
func askedBySetup(said string) []string {
	var all []string
	for _, part := range strings.Split(said, ": ") {
		line := part[strings.LastIndex(part, "\n")+1:]
		for _, q := range []string{"Full name", "Mailboxes", "First user", "Certificate", "File with its key", "New password", "Again"} {
			if strings.HasPrefix(line, q) {
				all = append(all, q)
			}
		}
	}
	return all
}

const ctrlD = "\x04"

func setupAt(t *testing.T, typed, path string, args ...string) (code int, said string, asked []string) {
	t.Helper()
	var out, errOut strings.Builder
	code = execute(t.Context(), append([]string{"setup", "example.test", "-c", path}, args...), terminal(t, typed), &out, &errOut)
	// What was typed is shown by the terminal, and so are its line ends.
	said = strings.ReplaceAll(errOut.String(), "]: ", "]: \n")
	return code, errOut.String(), askedBySetup(strings.ReplaceAll(said, ": \"", "; \""))
}

// Whoever goes away at a question leaves nothing behind.
func TestSetupMakesNothingWhereAQuestionHasNoAnswer(t *testing.T) {
	answers := []string{"\n", "\n", "alice\n", "self-signed\n", "a password\n", ""}
	questions := []string{"Full name", "Mailboxes", "First user", "Certificate", "New password", "Again"}
	for n := range questions {
		dir := t.TempDir()
		code, said, asked := setupAt(t, strings.Join(answers[:n], "")+ctrlD, filepath.Join(dir, "posthouse.toml"))
		if code != exitUsage || !strings.Contains(said, "no answer; nothing was changed") || !slices.Equal(asked, questions[:n+1]) {
			t.Errorf("Ctrl-D at %q: got %d, the questions %q\n%s", questions[n], code, asked, said)
		}
		if left := tree(t, dir); len(left) > 0 {
			t.Errorf("Ctrl-D at %q: left %v", questions[n], left)
		}
	}
}

// A wrong answer is told, and the question comes again.
func TestSetupAsksAgainAfterAWrongAnswer(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var typed string
	var questions, reasons []string
	for _, row := range []struct{ question, answer, reason string }{
		{"Full name", "mail", `"mail" is no full name`},
		{"Full name", "mail server.example.test", `"mail server.example.test" is no full name`},
		{"Full name", "mail.b\u00fccher.test", ""},
		{"Mailboxes", "yes please", `"yes please" is neither virtual nor system`},
		{"Mailboxes", "", ""},
		{"First user", "alice smith", `"alice smith": bad address`},
		{"First user", `"alice smith"`, "a local part with a blank"},
		{"First user", "alice@elsewhere.test", "it is a user of example.test"},
		{"First user", "#alice", "takes a line that begins with #"},
		{"First user", " alice ", ""},
		{"Certificate", "yes", "open yes: no such file"},
		{"Certificate", junk, ""},
		{"File with its key", "", "in which file is it?"},
		{"File with its key", junk, "failed to find any PEM data"},
		{"Certificate", "self-signed", ""},
		{"New password", "", "The password is empty"},
		{"New password", "one two", ""},
		{"Again", "one tow", "The two passwords differ"},
		{"New password", ctrlD, ""},
	} {
		typed, questions, reasons = typed+row.answer+"\n", append(questions, row.question), append(reasons, row.reason)
	}
	code, said, asked := setupAt(t, typed, filepath.Join(dir, "posthouse.toml"))
	if code != exitUsage || !slices.Equal(asked, questions) {
		t.Errorf("got %d, the questions\n%q, want\n%q\n%s", code, asked, questions, said)
	}
	rest := said
	for _, reason := range reasons {
		_, behind, ok := strings.Cut(rest, reason)
		if !ok {
			t.Errorf("want %q, in its order, in\n%s", reason, said)
		}
		rest = behind
	}
	if left := tree(t, dir); len(left) != 1 {
		t.Errorf("files were made: %v", left)
	}
}

func TestSetupTakesAnswersOfATerminal(t *testing.T) {
	dir, path := home(t)
	code, said, _ := setupAt(t, "\npostmaster\none two\none two\n", path, "--address", "192.0.2.1")
	if code != 0 {
		t.Fatalf("got %d\n%s", code, said)
	}
	if users := tree(t, dir)[filepath.Join(dir, "users")]; !strings.Contains(users, "\npostmaster@example.test {ARGON2ID}") {
		t.Errorf("got users\n%s", users)
	}
	if want := "systemctl reload posthouse-queue-runner posthouse-smtpd posthouse-pop3d"; !strings.Contains(said, want) && !strings.Contains(said, "Start the three daemons") {
		t.Errorf("want the next step in\n%s", said)
	}
	if code, said, asked := setupAt(t, ctrlD, path, "--address", "192.0.2.1"); code != 0 || len(asked) > 0 {
		t.Errorf("again: got %d, the questions %q\n%s", code, asked, said)
	}
}
