package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// command runs the whole program.
func command(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = execute(t.Context(), args, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// site writes a configuration and the files that it names, and returns its path.
func site(t *testing.T, users, more string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("hostname = \"mail.example.org\"\n[users]\nfile = %q\n[domains.\"example.org\"]\n%s", filepath.Join(dir, "users"), more)
	for name, content := range map[string]string{"posthouse.toml": strings.ReplaceAll(text, "DIR", dir), "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "posthouse.toml")
}

func TestCheckListsEveryFault(t *testing.T) {
	path := site(t, "", "[smtpd]\nmax_errors = 0\nzz = 1\n")
	status, out, errOut := command(t, "check", "--config", path)
	want := path + ":6: smtpd.max_errors: 0 is out of range; allowed: 1 to 1000\n" + path + ":7: smtpd.zz: unknown key; allowed: "
	if status != 78 || out != "" || !strings.HasPrefix(errOut, want) || !strings.HasSuffix(errOut, "\nposthouse: 2 faults in the configuration\n") {
		t.Errorf("got status %d, output %q and\n%s\nwant 78 and\n%s", status, out, errOut, want)
	}
}

func TestCheckReadsTheFilesThatTheConfigurationNames(t *testing.T) {
	path := site(t, "no address\n", "[tls]\ncertificate = \"DIR/users\"\nkey = \"DIR/users\"\n")
	status, _, errOut := command(t, "check", "-c", path)
	for _, part := range []string{"users:1: ", "certificate", "2 faults"} {
		if status != 78 || !strings.Contains(errOut, part) {
			t.Errorf("got status %d and\n%s\nwant 78 and %q in it", status, errOut, part)
		}
	}
}

func TestCheckFollowsTheAliases(t *testing.T) {
	path := site(t, "Alice@example.org {PLAIN}x\n", "aliases = \"DIR/aliases\"\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "aliases"), []byte("good: alice, x@far.test\nring: round\nround: ring\ngone: nobody\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	status, out, _ := command(t, "check", "-c", path)
	for _, part := range []string{"aliases: alias gone@example.org: no such user here\n", "alias loop", "OK"} {
		if status != 0 || !strings.Contains(out, part) || strings.Contains(out, "good") {
			t.Errorf("got status %d and\n%s\nwant 0 and %q in it, and nothing of good", status, out, part)
		}
	}
}

func TestCheckReadsTheAliases(t *testing.T) {
	path := site(t, "alice@example.org {PLAIN}x\n", "aliases = \"DIR/aliases\"\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "aliases"), []byte("info: alice\nno colon\nlists: |/bin/program\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	status, out, errOut := command(t, "check", "-c", path)
	for _, part := range []string{"aliases:2: ", "aliases:3: ", "2 faults"} {
		if status != 78 || strings.Contains(out, "OK") || !strings.Contains(errOut, part) {
			t.Errorf("got status %d, %q and\n%s\nwant 78 and %q in it", status, out, errOut, part)
		}
	}
}

func TestCheckSaysOKAndWarns(t *testing.T) {
	path := site(t, "alice@example.org {PLAIN}x\n", "")
	status, out, errOut := command(t, "check", "-c", path)
	if status != 0 || errOut != "" || !strings.HasSuffix(out, "OK: "+path+": host mail.example.org, 2 domains, 0 listeners, 1 user\n") {
		t.Errorf("got status %d and\n%s%s\nwant OK", status, out, errOut)
	}
	for _, part := range []string{"warning: no tls.certificate", "warning: postmaster: nobody is postmaster@mail.example.org", "warning: no [[smtpd.listen]]"} {
		if !strings.Contains(out, part) {
			t.Errorf("got\n%s\nwant %q in it", out, part)
		}
	}
}

func TestCheckTellsWhoCannotLogInByScram(t *testing.T) {
	const scram = "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	const key = "* salt_key=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"
	const offered, fails, noKey = "no login by SCRAM-SHA-256 is offered, for 1 of 2 users", "1 of 2 users have no verifier for SCRAM-SHA-256, and", `no line "* salt_key="`
	for _, c := range []struct{ users, when, want string }{
		{key + "a@example.org {PLAIN}x\nb@example.org " + scram + "\n", "auto", offered},
		{key + "a@example.org {PLAIN}x\nb@example.org " + scram + "\n", "always", fails},
		{"a@example.org " + scram + "\n", "auto", noKey},
		{"a@example.org " + scram + "\n", "never", ""},
		{key + "a@example.org " + scram + "\nb@example.org {PLAIN}x disabled=yes\nc@example.org\n", "auto", ""},
		{"a@example.org {PLAIN}x\nb@example.org {PLAIN}x\n", "auto", ""},
	} {
		path := site(t, c.users, "")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte("[users]\n"), []byte("[users]\nscram = \""+c.when+"\"\n"), 1)
		if err := os.WriteFile(path, text, 0o640); err != nil {
			t.Fatal(err)
		}
		status, out, errOut := command(t, "check", "-c", path)
		if status != 0 || errOut != "" {
			t.Errorf("got status %d, %s", status, errOut)
		}
		for _, part := range []string{offered, fails, noKey} {
			if strings.Contains(out, part) != (part == c.want) {
				t.Errorf("scram = %q, %.60q: got\n%swant %q alone of its kind", c.when, c.users, out, c.want)
			}
		}
	}
}

func TestCheckIsQuietWhereAllIsWell(t *testing.T) {
	certs := mtatest.NewCerts(t, "mail.example.org")
	path := site(t, "postmaster@mail.example.org {PLAIN}x\n", fmt.Sprintf("[tls]\ncertificate = %q\nkey = %q\n[[pop3d.listen]]\naddress = \":110\"\n", certs.CertFile, certs.KeyFile))
	status, out, errOut := command(t, "check", "-c", path)
	if status != 0 || errOut != "" || !strings.HasPrefix(out, "OK: ") {
		t.Errorf("got status %d and\n%s%s\nwant OK alone", status, out, errOut)
	}
}

func TestCheckWarnsOfACertificateForAnotherName(t *testing.T) {
	certs := mtatest.NewCerts(t, "mail.example.org", "*.example.net")
	path := site(t, "postmaster@mail.example.org {PLAIN}x\n", fmt.Sprintf("[tls]\ncertificate = %[1]q\nkey = %[2]q\n[[tls.sni]]\nnames = [\"mail.example.com\", \"*.example.net\", \"*.example.com\"]\ncertificate = %[1]q\nkey = %[2]q\n", certs.CertFile, certs.KeyFile))
	status, out, _ := command(t, "check", "-c", path)
	if status != 0 || strings.Count(out, "tls.sni: the certificate for ") != 2 || !strings.Contains(out, "for mail.example.com is not") || !strings.Contains(out, "for *.example.com is not") {
		t.Errorf("got status %d and\n%s\nwant a warning of mail.example.com and *.example.com", status, out)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args        []string
		status      int
		out, errOut string
	}{
		{nil, 64, "", "no command given"},
		{[]string{"nothing"}, 64, "", "unknown command"},
		{[]string{"check", "extra"}, 64, "", "unexpected argument"},
		{[]string{"check", "--nothing"}, 64, "", "unknown flag"},
		{[]string{"user", "add"}, 64, "", "wrong number of arguments"},
		{[]string{"user", "list", "-c", "/nowhere"}, 78, "", "/nowhere:1: open /nowhere: "},
		{[]string{"--version"}, 0, "posthouse (Posthouse) ", ""},
		{[]string{"--help"}, 0, "Available Commands", ""},
	} {
		status, out, errOut := command(t, c.args...)
		if status != c.status || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.errOut) {
			t.Errorf("%v: got status %d, %q, %q; want %d, %q, %q", c.args, status, out, errOut, c.status, c.out, c.errOut)
		}
	}
}

func TestAnOutputThatCannotBeWrittenIsNoFaultOfTheCommandLine(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	conf := filepath.Join(t.TempDir(), "posthouse.toml")
	if err := os.WriteFile(conf, []byte("hostname = \"mx.here.test\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "-c", conf}, {"folders", "--sysusers"}} {
		var errOut strings.Builder
		if status := execute(t.Context(), args, nil, full, &errOut); status != exitIO || strings.Contains(errOut.String(), "Try") {
			t.Errorf("%v: got status %d, %q; want %d", args, status, &errOut, exitIO)
		}
	}
}

// The aliases of a database are for domains of the machine's users, too.
func TestCheckAsksTheDatabaseAlsoWithoutVirtualUsers(t *testing.T) {
	path := site(t, "", "mailboxes = \"system\"\n[users.postgres]\nurl_file = \"DIR/url\"\nuser = \"SELECT 1\"\nalias = \"SELECT 1\"\n")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{path: strings.Replace(string(text), "[users]\n", "[users]\ndriver = \"postgres\"\n", 1), filepath.Join(filepath.Dir(path), "url"): "postgres://x@/mail?host=" + t.TempDir() + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if status, out, errOut := command(t, "check", "-c", path); status == 0 || !strings.Contains(errOut, "postgres: users cannot be looked up now") {
		t.Errorf("got status %d and\n%s%s\nwant it to say that the database is away", status, out, errOut)
	}
}
