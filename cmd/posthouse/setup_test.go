package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// home is a configuration of an instance in a folder of the test, with nothing that it names there yet.
func home(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "posthouse.toml")
	text := `hostname = "mail.example.test"
state = "` + dir + `/state"
run = "` + dir + `/run"
[spool]
path = "` + dir + `/spool"
[tls]
certificate = "` + dir + `/tls/cert.pem"
key = "` + dir + `/tls/key.pem"
[users]
file = "` + dir + `/users"
[mailboxes]
path = "` + dir + `/mail/{domain}/{local}"
[[smtpd.listen]]
address = ":587"
role = "submission"
[[pop3d.listen]]
address = ":995"
tls = "implicit"
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func runSetup(t *testing.T, stdin string, args ...string) (code int, zone, said string) {
	t.Helper()
	var out, errOut strings.Builder
	code = execute(t.Context(), append([]string{"setup"}, args...), strings.NewReader(stdin), &out, &errOut)
	return code, out.String(), errOut.String()
}

// tree is all files below a folder, with what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		m[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSetupAddsADomainAndKeepsWhatIsThere(t *testing.T) {
	dir, path := home(t)
	args := []string{"example.test", "-c", path, "--non-interactive", "--user", "alice", "--address", "192.0.2.1,2001:db8::1"}
	code, zone, said := runSetup(t, "correct horse battery staple\n", args...)
	if code != 0 {
		t.Fatalf("got %d\n%s", code, said)
	}
	for _, want := range []string{
		`(?m)^mail\.example\.test\. IN A 192\.0\.2\.1$`, `(?m)^mail\.example\.test\. IN AAAA 2001:db8::1$`,
		`(?m)^example\.test\. IN MX 10 mail\.example\.test\.$`, `(?m)^example\.test\. IN TXT "v=spf1 mx -all"$`,
		`(?m)^mail\d{4}\._domainkey\.example\.test\. IN TXT "v=DKIM1; k=rsa; p=.+" ".+"$`,
		`(?m)^ed\d{4}\._domainkey\.example\.test\. IN TXT "v=DKIM1; k=ed25519; p=\S+"$`,
		`(?m)^_dmarc\.example\.test\. IN TXT "v=DMARC1; `, `(?m)^_smtp\._tls\.example\.test\. IN TXT "v=TLSRPTv1; `,
		`(?m)^; _mta-sts\.example\.test\. IN TXT "v=STSv1; id=[0-9a-f]{16}"$`, `(?m)^; _25\._tcp\.mail\.example\.test\. IN TLSA 3 1 1 [0-9a-f]{64}$`,
		`(?m)^_submission\._tcp\.example\.test\. IN SRV 0 1 587 mail`, `(?m)^_pop3s\._tcp\.example\.test\. IN SRV 0 1 995 mail`,
	} {
		if !regexp.MustCompile(want).MatchString(zone) {
			t.Errorf("want %s in\n%s", want, zone)
		}
	}
	before := tree(t, dir)
	for _, file := range []string{"users", "tls/cert.pem", "tls/key.pem"} {
		if before[filepath.Join(dir, file)] == "" {
			t.Errorf("there is no %s", file)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "tls/key.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: got %v, %v, want mode 0600", st, err)
	}
	code, again, said := runSetup(t, "another password entirely\n", args...)
	if code != 0 || again != zone {
		t.Errorf("the second time: got %d\n%s\n%s", code, again, said)
	}
	if after := tree(t, dir); len(after) != len(before) {
		t.Errorf("the second time made files: got %d, want %d", len(after), len(before))
	} else {
		for file, text := range before {
			if after[file] != text {
				t.Errorf("the second time changed %s", file)
			}
		}
	}
	if n := strings.Count(said, "kept "); n != 6 {
		t.Errorf("want six times \"kept\" in\n%s", said)
	}
}

func TestSetupChangesNothingWhereItIsTheCommandLineThatIsWrong(t *testing.T) {
	for name, args := range map[string][]string{
		"no domain":            {},
		"no name":              {"exam ple"},
		"a single label":       {"localhost"},
		"a network":            {"192.0.2.0/24"},
		"an address":           {"192.0.2.1"},
		"no name of a host":    {"_dmarc.example.test"},
		"a hyphen at the end":  {"example-.test"},
		"another host":         {"example.test", "--hostname", "other.example.test"},
		"a key alone":          {"example.test", "--key", "/dev/null"},
		"both certificates":    {"example.test", "--self-signed", "--certificate", "a", "--key", "b"},
		"a bad address option": {"example.test", "--address", "mail.example.test"},
		"nobody's address":     {"example.test", "--user", "a@b@c"},
		"other mailboxes":      {"example.test", "--mailboxes", "imap"},
		"relayed mailboxes":    {"example.test", "--mailboxes", "relay"},
		"nobody's account":     {"example.test", "--mailboxes", "system", "--user", "no-such-account"},
		"root's account":       {"example.test", "--mailboxes", "system", "--user", "root"},
		"a password to set":    {"example.test", "--mailboxes", "system", "--user", "bin", "--no-password"},
	} {
		dir, path := home(t)
		before := tree(t, dir)
		code, zone, said := runSetup(t, "", append(args, "-c", path, "--non-interactive")...)
		if code != exitUsage || zone != "" {
			t.Errorf("%s: got %d, want %d\n%s", name, code, exitUsage, said)
		}
		if len(tree(t, dir)) != len(before) {
			t.Errorf("%s: files were made", name)
		}
	}
}

// A domain whose users are the machine's: the first of them has an account, and nothing is written into the users file.
func TestSetupForUsersOfTheMachine(t *testing.T) {
	dir, path := home(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "[mailboxes]\n", "[mailboxes]\nsystem_min_uid = 1\n", 1))
	if err := errors.Join(os.WriteFile(path, text, 0o644), os.WriteFile(filepath.Join(dir, "users"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	args := []string{"unix.test", "-c", path, "--non-interactive", "--mailboxes", "system", "--user", "bin", "--address", "192.0.2.1"}
	code, zone, said := runSetup(t, "", args...)
	if code != 0 || !strings.Contains(said, "bin@unix.test is the user bin of this machine") || !strings.Contains(said, "posthouse-as-user") {
		t.Fatalf("got %d\n%s", code, said)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cfg.Domain("unix.test"); d == nil || d.Mailboxes != "system" || len(d.DKIM) != 2 {
		t.Errorf("got the domain %+v", d)
	}
	if users := tree(t, dir)[filepath.Join(dir, "users")]; users != "" {
		t.Errorf("the users file has %q", users)
	}
	before := tree(t, dir)
	for _, again := range [][]string{args, {"unix.test", "-c", path, "--non-interactive", "--address", "192.0.2.1"}} {
		if code, z, said := runSetup(t, "", again...); code != 0 || z != zone {
			t.Errorf("again: got %d\n%s", code, said)
		}
	}
	if code, _, said := runSetup(t, "", "unix.test", "-c", path, "--non-interactive", "--mailboxes", "virtual"); code != exitUsage || !strings.Contains(said, "change it there") {
		t.Errorf("other mailboxes: got %d\n%s", code, said)
	}
	if code, _, said := runSetup(t, "a password of some length\n", append(args, "--user", "carol@mail.example.test")...); code != 0 || !strings.Contains(said, "added carol@mail.example.test") {
		t.Errorf("a user of another domain: got %d\n%s", code, said)
	}
	after := tree(t, dir)
	for file, text := range before {
		if after[file] != text && filepath.Base(file) != "users" {
			t.Errorf("%s has changed", file)
		}
	}
}

func TestSetupAsksForWhatANewConfigurationNeeds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "posthouse.toml")
	for want, args := range map[string][]string{
		"--user":        {"example.test", "--self-signed"},
		"--self-signed": {"example.test", "--user", "alice"},
	} {
		code, _, said := runSetup(t, "", append(args, "-c", path, "--non-interactive")...)
		if _, err := os.Stat(path); code != exitUsage || !strings.Contains(said, want) || err == nil {
			t.Errorf("got %d, %v\n%s\nwant %s told and nothing made", code, err, said, want)
		}
	}
}

// A wrong answer leaves nothing behind that the next run would keep.
func TestSetupWritesNothingBeforeAllAnswersAreGood(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "posthouse.toml")
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  string
	}{
		"no such certificate":   {[]string{"--user", "alice", "--certificate", dir + "/none", "--key", junk}, "good password", exitIO, "none"},
		"no certificate":        {[]string{"--user", "alice", "--certificate", junk, "--key", junk}, "good password", exitData, "junk"},
		"a user elsewhere":      {[]string{"--user", "alice@other.test", "--self-signed"}, "good password", exitCantMake, "no domain other.test"},
		"an unknown scheme":     {[]string{"--user", "alice", "--self-signed", "--scheme", "md5"}, "good password", exitUsage, "--scheme"},
		"an empty password":     {[]string{"--user", "alice", "--self-signed"}, "", exitData, "--no-password"},
		"a host without a dot":  {[]string{"--user", "alice", "--self-signed", "--hostname", "mail"}, "good password", exitUsage, "--hostname"},
		"a host with a _ in it": {[]string{"--user", "alice", "--self-signed", "--hostname", "my_host.example.test"}, "good password", exitUsage, "--hostname"},
	} {
		code, zone, said := runSetup(t, row.stdin, append([]string{"example.test", "-c", path, "--non-interactive"}, row.args...)...)
		if code != row.code || zone != "" || !strings.Contains(said, row.want) {
			t.Errorf("%s: got %d, want %d and %q\n%s", name, code, row.code, row.want, said)
		}
		if got := tree(t, dir); len(got) != 1 {
			t.Errorf("%s: files were made: %d", name, len(got)-1)
		}
	}
}

// The records of the host are those of another zone than the second domain's.
func TestSetupKeepsRecordsOfAnotherZoneApart(t *testing.T) {
	_, path := home(t)
	code, zone, said := runSetup(t, "good password\n", "other.test", "-c", path, "--non-interactive", "--user", "alice", "--address", "192.0.2.1")
	if code != 0 {
		t.Fatalf("got %d\n%s", code, said)
	}
	for line := range strings.Lines(zone) {
		if name, _, _ := strings.Cut(line, " "); name != ";" && name != "other.test." && !strings.HasSuffix(name, ".other.test.") {
			t.Errorf("%q is out of the zone", line)
		}
	}
	if want := "; in the zone of mail.example.test:\n; mail.example.test. IN A 192.0.2.1\n"; !strings.Contains(zone, want) {
		t.Errorf("want %q in\n%s", want, zone)
	}
}

// A run that ended before there was a user is gone on with, and says what it needs.
func TestSetupGoesOnWhereItWasCutShort(t *testing.T) {
	dir, path := home(t)
	args := []string{"example.test", "-c", path, "--non-interactive", "--address", "192.0.2.1"}
	if code, _, said := runSetup(t, "good password\n", append(args, "--user", "alice")...); code != 0 {
		t.Fatalf("got %d\n%s", code, said)
	}
	for _, lost := range []string{"users", "tls/cert.pem"} {
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, said := runSetup(t, "", args...); code != exitUsage || !strings.Contains(said, "--user: there is no ") {
		t.Errorf("without a user: got %d\n%s", code, said)
	}
	if code, _, said := runSetup(t, "good password\n", append(args, "--user", "alice")...); code != 0 || !strings.Contains(said, "OK: ") {
		t.Errorf("with a user: got %d\n%s", code, said)
	}
}

// Where the users are in a database setup neither asks for the first nor for a password.
func TestSetupAsksForNoUserOfADatabase(t *testing.T) {
	dir, path := home(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{path: strings.Replace(string(text), "[users]\n", "[users]\ndriver = \"postgres\"\npostgres.url_file = \""+dir+"/url\"\npostgres.user = \"SELECT 1\"\n", 1), dir + "/url": "postgres://x@/mail?host=" + dir + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, more := range [][]string{nil, nil, {"--user", "alice"}} { // the second time with the domain
		args := append([]string{"example.test", "-c", path, "--non-interactive", "--address", "192.0.2.1", "--self-signed"}, more...)
		if _, _, said := runSetup(t, "", args...); strings.Contains(said, "--user") || strings.Contains(said, "password") || !strings.Contains(said, "postgres: users cannot be looked up now") {
			t.Errorf("%v: got\n%s", more, said)
		}
	}
}

func TestSetupTakesNoConfigurationWithAFault(t *testing.T) {
	_, path := home(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "colour = 1\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, said := runSetup(t, "", "example.test", "-c", path, "--non-interactive"); code != exitConfig || !strings.Contains(said, "colour") {
		t.Errorf("got %d\n%s", code, said)
	}
}

// The listeners that setup writes are those of the socket units: one that is in one place alone keeps a daemon from
// starting.
func TestSetupListensWhereTheSocketUnitsDo(t *testing.T) {
	s := &setup{domain: "example.test", hostname: "mail.example.test", user: "alice", path: filepath.Join(t.TempDir(), "posthouse.toml")}
	cmd := newSetup()
	cmd.SetErr(new(strings.Builder))
	s.cmd = cmd
	if err := errors.Join(s.plan(true), s.writeConfig()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range s.cfg.SMTPD.Listen {
		got = append(got, "smtpd "+strings.TrimPrefix(strings.TrimPrefix(l.Address, ":"), "unix:"))
	}
	for _, l := range s.cfg.POP3D.Listen {
		got = append(got, "pop3d "+strings.TrimPrefix(l.Address, ":"))
	}
	var want []string
	for _, name := range []string{"smtpd", "pop3d"} {
		unit, err := os.ReadFile("../../etc/systemd/system/posthouse-" + name + ".socket")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^ListenStream=(.+)$`).FindAllStringSubmatch(string(unit), -1) {
			want = append(want, name+" "+m[1])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s.cfg.Run != "/run/posthouse" || s.cfg.PostmasterAddress().String() != "alice@example.test" {
		t.Errorf("got run %s, postmaster %s", s.cfg.Run, s.cfg.PostmasterAddress())
	}
	if _, err := config.Read(s.path); err != nil {
		t.Error(err)
	}
}

// With --acme a certificate stands in, for the key that the one of the authority will have: a TLSA record holds from then on.
func TestSetupWithACME(t *testing.T) {
	dir, path := home(t)
	args := []string{"example.test", "-c", path, "--non-interactive", "--user", "alice", "--no-password", "--acme", "--address", "192.0.2.1"}
	code, _, said := runSetup(t, "", args...)
	if code != 0 || !strings.Contains(said, "stands in until") || !strings.Contains(said, `added [domains."example.test"] and [acme] to `) {
		t.Fatalf("got %d\n%s", code, said)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (config.ACME{Email: "postmaster@mail.example.test", Directory: "letsencrypt", Listen: ":80", Output: dir + "/tls"}); cfg.ACME != want {
		t.Errorf("got %+v, want %+v", cfg.ACME, want)
	}
	ours, err := os.ReadFile(filepath.Join(dir, "state/acme/cert.pem/key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if used := tree(t, dir)[dir+"/tls/key.pem"]; used != string(ours) {
		t.Error("the key in use is not the one that the certificate will be obtained for")
	}
	var out, errOut strings.Builder
	if code := execute(t.Context(), []string{"cert", "status", "-c", path}, strings.NewReader(""), &out, &errOut); code != exitFound || !strings.Contains(out.String(), "a stand-in") {
		t.Errorf("status: got %d, %s%s", code, out.String(), errOut.String())
	}
	before := tree(t, dir)
	if code, _, said := runSetup(t, "", args...); code != 0 {
		t.Fatalf("again: got %d\n%s", code, said)
	}
	for file, text := range tree(t, dir) {
		if before[file] != text {
			t.Errorf("again: %s has changed", file)
		}
	}
}
