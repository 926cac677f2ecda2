package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/directory"
)

// instance is a configuration with the domains example.org, its alias example.com, and bücher.example.
type instance struct{ config, users string }

func newInstance(t *testing.T) instance {
	t.Helper()
	dir := t.TempDir()
	i := instance{filepath.Join(dir, "posthouse.toml"), filepath.Join(dir, "users")}
	text := fmt.Sprintf("hostname = \"mail.example.org\"\n[domains.\"example.org\"]\n[domains.\"example.com\"]\nalias_of = \"example.org\"\n"+
		"[domains.\"bücher.example\"]\n[users]\nfile = %q\n[mailboxes]\npath = \"/mail/{domain}/{local}\"\n", i.users)
	if err := os.WriteFile(i.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return i
}

// run is `posthouse user ARGS`; code is the exit code that the error asks for.
func (i instance) run(t *testing.T, in string, args ...string) (out string, code int, err error) {
	t.Helper()
	var b bytes.Buffer
	cmd := newUser()
	cmd.SetArgs(append(args, "--config", i.config))
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SilenceErrors = true
	err = cmd.ExecuteContext(t.Context())
	return b.String(), exitCode(err), err
}

func exitCode(err error) int {
	var c interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &c):
		return c.ExitCode()
	}
	return 64
}

func TestLifeOfAUser(t *testing.T) {
	i := newInstance(t)
	step := func(in, want string, args ...string) {
		t.Helper()
		out, code, err := i.run(t, in, args...)
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Fatalf("%v: got status %d, error %v, output %q; want %q", args, code, err, out, want)
		}
	}
	login := func(address, password string, want bool) {
		t.Helper()
		f, err := directory.Open(i.users, directory.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Authenticate(t.Context(), address, password); (err == nil) != want {
			t.Errorf("%s with %q: got error %v, want success %v", address, password, err, want)
		}
	}
	step("secret one\nignored\n", "alice@example.org added", "add", "alice@example.org")
	login("alice@example.org", "secret one", true)
	step("two\r\n", "password of alice@example.org changed", "passwd", "Alice@Example.org", "--scheme", "sha512-crypt")
	login("alice@example.org", "secret one", false)
	login("alice@example.org", "two", true)
	step("", "added", "add", "relay@example.org", "--no-password")
	login("relay@example.org", "", false)
	step("three", "x@xn--bcher-kva.example added", "add", "x@BÜCHER.example", "--scheme=bcrypt")
	step("", "alice@example.org sha512-crypt,scram-sha-256 yes", "list")
	step("", "relay@example.org - no", "list")
	out, _, _ := i.run(t, "", "list", "--json")
	var all []map[string]any
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 3 || all[2]["address"] != "x@xn--bcher-kva.example" {
		t.Errorf("list --json: got %s, error %v", out, err)
	}
	step("", "mail that is there stays in /mail/example.org/alice", "remove", "ALICE@example.org")
	login("alice@example.org", "two", false)
	if st, err := os.Stat(i.users); err != nil || st.Mode() != 0o640 {
		t.Errorf("got mode %v, error %v; want 0640", st.Mode(), err)
	}
}

func TestPasswordsAreStoredForScramToo(t *testing.T) {
	for _, c := range []struct {
		args  []string
		want  []string
		offer bool
	}{
		{nil, []string{directory.Argon2id, directory.Scram}, true},
		{[]string{"--scheme=bcrypt"}, []string{directory.Bcrypt, directory.Scram}, true},
		{[]string{"--scheme=scram-sha-256"}, []string{directory.Scram}, true},
		{[]string{"--no-scram"}, []string{directory.Argon2id}, false},
	} {
		i := newInstance(t)
		for _, verb := range []string{"add", "passwd"} {
			if _, _, err := i.run(t, "Gr\u00fc\u00dfe\n", append([]string{verb, "a@example.org"}, c.args...)...); err != nil {
				t.Fatal(err)
			}
			f, err := directory.Open(i.users, directory.Options{})
			if err != nil {
				t.Fatal(err)
			}
			u, err := f.Lookup(t.Context(), mta.Address{Local: "a", Domain: "example.org"})
			if offered, _ := f.OffersScram(); err != nil || !slices.Equal(u.Schemes, c.want) || offered != c.offer {
				t.Errorf("%s %q: got %q, error %v, SCRAM offered %v; want %q, %v", verb, c.args, u.Schemes, err, offered, c.want, c.offer)
			}
			if _, err := f.Authenticate(t.Context(), "a@example.org", "Gru\u0308\u00dfe"); err != nil {
				t.Errorf("%s %q: the password, with the letter in two parts: %v", verb, c.args, err)
			}
		}
	}
}

func TestEmptyListIsNoError(t *testing.T) {
	i := newInstance(t)
	if out, code, err := i.run(t, "", "list", "--json"); code != 0 || out != "[]\n" {
		t.Errorf("got %q, status %d, error %v; want []", out, code, err)
	}
}

func TestUserCommandsSayWhatIsWrongAndEndWithItsStatus(t *testing.T) {
	const file = "# mine\nbob@example.org {PLAIN}b\n"
	long := strings.Repeat("x", directory.MaxPassword+1)
	for _, c := range []struct {
		in   string
		args []string
		code int
		want string
	}{
		{"", []string{"add", "bob@example.org"}, 73, "bob@example.org: user exists already; posthouse user passwd gives another password"},
		{"x", []string{"add", "BOB@example.org"}, 73, "exists already"},
		{"x", []string{"add", "a@example.net"}, 73, "no domain example.net; posthouse setup example.net adds it"},
		{"x", []string{"add", "a@example.com"}, 73, "example.com is an alias of example.org; add a@example.org"},
		{"x", []string{"add", "alice"}, 73, "bad address: no domain"},
		{"x", []string{"add", `"a/b"@example.org`}, 73, "address cannot name a mailbox"},
		{"x", []string{"add", `"a b"@example.org`}, 73, "a blank"},
		{"x", []string{"add", "#a@example.org"}, 73, "for a comment"},
		{"", []string{"add", "a@example.org"}, 65, "no password on standard input"},
		{"\n", []string{"add", "a@example.org"}, 65, "no password on standard input"},
		{long, []string{"add", "a@example.org"}, 65, "longer than 1024"},
		{long + long, []string{"add", "a@example.org"}, 65, "longer than 1024"},
		{"a b", []string{"add", "a@example.org", "--scheme", "plain"}, 65, "use another scheme"},
		{"a", []string{"add", "a@example.org", "--scheme", "md5"}, 64, `unknown scheme "md5"; allowed: argon2id, bcrypt`},
		{"a", []string{"add", "a@example.org", "--scheme", "scram-sha-256", "--no-scram"}, 64, "nothing is left to store"},
		{"a", []string{"passwd", "a@example.org"}, 67, "a@example.org: no such user; posthouse user list shows all"},
		{"", []string{"remove", "a@example.net"}, 67, "a@example.net: no such user"},
		{"", []string{"remove", "not an address"}, 67, "bad address"},
		{"", nil, 64, "no command given"},
		{"", []string{"frobnicate"}, 64, "unknown command"},
		{"", []string{"add"}, 64, "arg"},
		{"", []string{"list", "x"}, 64, "x"},
	} {
		i := newInstance(t)
		if err := os.WriteFile(i.users, []byte(file), 0o640); err != nil {
			t.Fatal(err)
		}
		_, code, err := i.run(t, c.in, c.args...)
		if code != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: got status %d, error %v; want %d, %q", c.args, code, err, c.code, c.want)
		}
		if b, err := os.ReadFile(i.users); err != nil || string(b) != file {
			t.Errorf("%.80q: the file is now %q, error %v", c.args, b, err)
		}
	}
}

func TestFaultElsewhereInTheFileIsToldAfterTheChange(t *testing.T) {
	i := newInstance(t)
	if err := os.WriteFile(i.users, []byte("bob@example.org {NONE}b\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, code, err := i.run(t, "a", "add", "a@example.org", "--scheme", "plain", "--no-scram")
	want := "a@example.org added to " + i.users + ", but the daemons keep the users they have until this is mended: " + i.users + ":1: unknown scheme"
	if code != 78 || err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got status %d, error %v; want 78, %s", code, err, want)
	}
	if b, _ := os.ReadFile(i.users); !slices.Equal(strings.Split(string(b), "\n"), []string{"bob@example.org {NONE}b", "a@example.org {PLAIN}a", ""}) {
		t.Errorf("the file is %q", b)
	}
}

func TestFaultyConfigurationIsStatus78(t *testing.T) {
	i := newInstance(t)
	if err := os.WriteFile(i.config, []byte("colour = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, code, err := i.run(t, "", "list"); code != 78 || !strings.Contains(fmt.Sprint(err), ":1: colour") {
		t.Errorf("got status %d, error %v", code, err)
	}
}

// openPTY returns both ends of a terminal.
func openPTY(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return master, tty
}

// typist answers each prompt with a line, once the prompt is there and so the echo is off or about to be.
type typist struct {
	master *os.File
	lines  []string
	shown  bytes.Buffer
}

func (p *typist) Write(b []byte) (int, error) {
	p.shown.Write(b)
	if bytes.HasSuffix(b, []byte(": ")) && len(p.lines) > 0 {
		_, _ = p.master.WriteString(p.lines[0] + "\n")
		p.lines = p.lines[1:]
	}
	return len(b), nil
}

func TestTerminalIsAskedTwice(t *testing.T) {
	for _, c := range []struct {
		typed []string
		code  int
		shown string
	}{
		{[]string{"tea", "tea"}, 0, "PA"},
		{[]string{"tea", "coffee", "", "tea", "tea"}, 0, "PADPEPA"},
		{[]string{ctrlD}, exitUsage, "P"},
		{[]string{"tea", "te" + ctrlD + ctrlD}, exitUsage, "PA"},
	} {
		i := newInstance(t)
		master, tty := openPTY(t)
		p := &typist{master: master, lines: c.typed}
		cmd := newUser()
		cmd.SilenceErrors = true
		cmd.SetArgs([]string{"add", "alice@example.org", "--scheme=plain", "--no-scram", "--config", i.config})
		cmd.SetIn(tty)
		cmd.SetErr(p)
		cmd.SetOut(&p.shown)
		stop := time.AfterFunc(2*time.Minute, func() { _ = master.Close() })
		err := cmd.ExecuteContext(t.Context())
		stop.Stop()
		if exitCode(err) != c.code {
			t.Errorf("%q: got status %d, error %v; want %d", c.typed, exitCode(err), err, c.code)
		}
		want := strings.NewReplacer("P", "New password for alice@example.org: \n", "A", "Again: \n", "D", "The two passwords differ. Once more, or Ctrl-C.\n",
			"E", "The password is empty. Once more, or Ctrl-C.\n").Replace(c.shown)
		if !strings.HasPrefix(p.shown.String(), want) {
			t.Errorf("%q: got prompts %q, want %q", c.typed, p.shown.String(), want)
		}
		b, _ := os.ReadFile(i.users)
		if (string(b) == "alice@example.org {PLAIN}tea\n") != (c.code == 0) {
			t.Errorf("%q: the file is %q", c.typed, b)
		}
	}
}
