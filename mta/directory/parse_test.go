package directory_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// usersFile writes a users file and returns its path.
func usersFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func address(t *testing.T, s string) mta.Address {
	t.Helper()
	a, err := mta.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFaultyUsersFilesAreRefusedWithTheLine(t *testing.T) {
	bad := []struct{ text, want string }{
		{"# first\n\nalice@example.org {PLAIN}a\nAlice@EXAMPLE.org {PLAIN}b\n", ":4: Alice@example.org is there already, in line 3"},
		{"alice@example.org {PLAIN}a\r\n", ":1: control character"},
		{"alice {PLAIN}a\n", ":1: first field: bad address: no domain"},
		{"{PLAIN}a alice@example.org\n", ":1: first field"},
		{"\"a b\"@example.org {PLAIN}a\n", ":1: first field"},                // fields end at blanks
		{"\"a\\\u0009b\"@example.org {PLAIN}a\n", ":1: first field"},         //
		{"alice@example.org plain-secret\n", "neither {SCHEME}verifier nor"}, // and the secret is not shown
		{"alice@example.org {PLAIN}a colour=red\n", `unknown key "colour"; allowed: quota, forward, send_as, host, disabled`},
		{"alice@example.org disabled=yes disabled=no\n", `"disabled" twice`},
		{"alice@example.org disabled=maybe\n", "disabled: allowed: yes, no"},
		{"alice@example.org quota=50XB\n", "quota: \"50XB\" is no size; allowed: "},
		{"alice@example.org quota=-1\n", "quota: \"-1\" is no size"},
		{"alice@example.org host=mail2.example.org\n", "host: not built in this version"},
		{"alice@example.org forward=bob@example.org,\n", "forward: bad address"},
		{"alice@example.org forward=" + strings.Repeat("a@b.c,", 100) + "a@b.c\n", "forward: more than 100"},
		{"alice@example.org send_as=@\n", "send_as: bad address"},
		{"alice@example.org" + strings.Repeat(" {PLAIN}a", 9) + "\n", "9 verifiers; allowed: up to 8"},
		{"alice@example.org {PLAIN}a\xff\n", "not UTF-8"},
		{"alice@example.org {SCRAM-SHA-256}" + pencil + " {SCRAM-SHA-256}" + pencil, "{SCRAM-SHA-256} twice"},
		{"*\n", ":1: a line that begins with * has salt_key="},
		{"* {PLAIN}a\n", "salt_key= and nothing else"},
		{"* salt_key=" + key32 + " quota=0\n", "salt_key= and nothing else"},
		{"* salt_key=plain-secret\n", "salt_key: not 32 octets in base64"},
		{"* salt_key=" + strings.Repeat("A", 43) + "=\n", "salt_key: not 32 octets"}, // all zero
		{"* salt_key=" + key32 + "\n* salt_key=" + key32 + "\n", ":2: a second line"},
		{"alice@example.org {PLAIN}a\x00b\n", "control character"},
		{"alice@example.org {PLAIN}" + strings.Repeat("a", 20000), ":1: line longer than 16384 octets"},
	}
	for _, c := range bad {
		path := usersFile(t, c.text)
		_, err := directory.Open(path, directory.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+":") {
			t.Errorf("%.80q: got error %v, want %s ... %s", c.text, err, path, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "plain-secret") {
			t.Errorf("%q: the error shows the field: %v", c.text, err)
		}
	}
}

func TestUsersFilesThatOthersCanReadAreRefused(t *testing.T) {
	path := usersFile(t, "alice@example.org {PLAIN}a\n")
	for _, mode := range []os.FileMode{0o644, 0o642, 0o641} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := directory.Open(path, directory.Options{})
		if err == nil || !strings.Contains(err.Error(), "allowed: 0640 or less") {
			t.Errorf("mode %o: got error %v, want one that names 0640", mode, err)
		}
	}
	if _, err := directory.Open(t.TempDir(), directory.Options{}); err == nil {
		t.Error("a folder: got no error")
	}
}

func TestLineWithEveryFieldIsRead(t *testing.T) {
	line := "Alice@Example.ORG\t {PLAIN}one {SCRAM-SHA-256}" + pencil +
		" quota=50MB forward=bob@Example.net,Alice@example.org send_as=info@example.org,@Sub.example.org host= disabled=yes "
	u, err := directory.ParseLine(line)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{u.Address, u.Quota, u.Forward, u.SendAs, u.Disabled, u.Schemes}
	want := []any{mta.Address{Local: "Alice", Domain: "example.org"}, int64(50 << 20),
		[]mta.Address{{Local: "bob", Domain: "example.net"}, {Local: "Alice", Domain: "example.org"}},
		[]string{"info@example.org", "@sub.example.org"}, true, []string{"PLAIN", "SCRAM-SHA-256"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}

func TestAQuotaOfOnesOwnIsTheDefaultWhereItIsNotGiven(t *testing.T) {
	for line, want := range map[string]int64{"a@b.c": -1, "a@b.c quota=": -1, "a@b.c quota=0": 0, "a@b.c quota=1KB": 1024} {
		if u, err := directory.ParseLine(line); err != nil || u.Quota != want {
			t.Errorf("%q: got %d, %v; want %d", line, u.Quota, err, want)
		}
	}
}

func TestUsersMaySendAsThemselvesAndWhatTheLineAllows(t *testing.T) {
	u, err := directory.ParseLine("alice@example.org send_as=info@example.org,@sub.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for sender, want := range map[string]bool{
		"bob@example.org": false, "x@sub.sub.example.org": false, "info@example.com": false,
		"ALICE@example.org": true, "Info@example.org": true, "anyone@sub.example.org": true,
	} {
		if got := u.MaySendAs(address(t, sender)); got != want {
			t.Errorf("%s: got %v, want %v", sender, got, want)
		}
	}
}

// FuzzUsersLine holds that a line that is accepted says the same when it is written out again field by field, and that it
// has exactly one address that is found.
func FuzzUsersLine(f *testing.F) {
	f.Fuzz(func(t *testing.T, line string) {
		u, err := directory.ParseLine(line)
		if err != nil || u == nil {
			return
		}
		if strings.ContainsAny(line, "\n\r\x00") {
			t.Fatalf("accepted %q, with a line end", line)
		}
		again, err := directory.ParseLine(strings.Join(strings.Fields(line), " "))
		if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7f }) { // Fields cuts at more blanks than a line does
			return
		}
		if err != nil || again == nil {
			t.Fatalf("%q: with single blanks: got error %v", line, err)
		}
		got, want := []any{again.Address, again.Forward, again.SendAs, again.Disabled, again.Schemes},
			[]any{u.Address, u.Forward, u.SendAs, u.Disabled, u.Schemes}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: with single blanks: want -, got +:\n%s", line, d)
		}
		if back, err := mta.ParseAddress(u.Address.String()); err != nil || back != u.Address {
			t.Errorf("address %q: got back %q, error %v", u.Address, back, err)
		}
		if len(u.Schemes) > 8 {
			t.Errorf("%d verifiers accepted", len(u.Schemes))
		}
	})
}
