package config

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIncludesMergeTablesAndAppendArrays(t *testing.T) {
	c, err := Read(write(t, "posthouse.toml", host+"include = [\"conf.d/*.toml\", \"none.d/*\", \"last.toml\"]\n[smtpd]\nmax_errors = 3\ntrusted_users = [\"a\"]\n",
		"conf.d/10.toml", "[smtpd]\nmax_recipients = 200\ntrusted_users = [\"b\"]\n[domains.\"a.example\"]\n",
		"conf.d/20.toml", "[domains.\"b.example\"]\n[[route]]\ndomain = \"x.example\"\nto = \"discard\"\n",
		"last.toml", "[[route]]\ndomain = \"*\"\nto = \"error:5.1.2 no\"\n",
	))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.LocalDomains(), " "); got != "a.example b.example mail.example.org" {
		t.Errorf("domains: got %q", got)
	}
	if got := strings.Join(c.SMTPD.TrustedUsers, " "); got != "a b" || c.SMTPD.MaxErrors != 3 || c.SMTPD.MaxRecipients != 200 {
		t.Errorf("smtpd: got users %q and %+v", got, c.SMTPD)
	}
	if len(c.Routes) != 2 || c.Routes[0].Domain != "x.example" {
		t.Errorf("routes: got %+v, want those of conf.d before those of last.toml", c.Routes)
	}
}

func TestFaultsOfIncludesNameBothPlaces(t *testing.T) {
	path := write(t, "posthouse.toml", host+"include = [\"a.toml\", \"gone.toml\"]\nstate = \"/a\"\n",
		"a.toml", "include = [\"b.toml\"]\n\nstate = \"/b\"\nzz = 1\n")
	_, err := Load(path)
	expect(t, err, "2 include: no such file", "1 include: in an included file", "3 state: set twice, here and at "+path+":3", "4 zz: unknown key")
}

func TestAFileIsReadOnce(t *testing.T) {
	_, err := Load(write(t, "posthouse.toml", host+"include = [\"*.toml\"]\n"))
	expect(t, err, "2 include: is read twice")
}

func TestWhoMayHaveWrittenTheFile(t *testing.T) {
	path := write(t, "posthouse.toml", host, "key", "", "cert", "")
	mode := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	mode(path, 0o642)
	_, err := Load(path)
	expect(t, err, "1 : everybody may write it (mode 0642)")
	mode(path, 0o664)
	_, err = Load(path)
	expect(t, err)
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 54321, -1); err != nil {
			t.Fatal(err)
		}
		_, err = Load(path)
		expect(t, err, "1 : it belongs to user 54321")
	}
}

func TestASecretThatOthersCanReadIsRefused(t *testing.T) {
	path := write(t, "posthouse.toml", host+"[tls]\ncertificate = \"DIR/cert\"\nkey = \"DIR/key\"\n[users]\nfile = \"DIR/users\"\n"+
		"[outbound]\nsmart_host = \"smtp:h.example\"\nsmart_host_login = \"DIR/login\"\n", "cert", "", "key", "", "users", "", "login", "a:b\n")
	if _, err := Load(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"key", "users", "login", "cert"} {
		if err := os.Chmod(strings.TrimSuffix(path, "posthouse.toml")+name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(path)
	expect(t, err, "4 tls.key: mode 0644", "6 users.file: mode 0644", "9 outbound.smart_host_login: mode 0644")
	if _, err := Read(path); err != nil {
		t.Errorf("Read looks at other files: %v", err)
	}
}

func TestAFileThatSomebodyElseCanHaveWrittenIsRefused(t *testing.T) {
	path := write(t, "posthouse.toml", host+"[tls]\ncertificate = \"DIR/cert\"\nkey = \"DIR/key\"\n[users]\nfile = \"DIR/users\"\n"+
		"[domains.\"a.example\"]\naliases = \"DIR/aliases\"\n", "cert", "", "key", "", "users", "", "aliases", "")
	dir := strings.TrimSuffix(path, "posthouse.toml")
	if err := os.Chmod(dir+"aliases", 0o646); err != nil {
		t.Fatal(err)
	}
	want := []string{"8 domains.\"a.example\".aliases: " + dir + "aliases: everybody may write it (mode 0646)"}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir+"users", 54321, -1); err != nil {
			t.Fatal(err)
		}
		want = append([]string{"6 users.file: " + dir + "users: it belongs to user 54321"}, want...)
	}
	_, err := Load(path)
	expect(t, err, want...)
}

func TestADomainNeedsTheUsersFile(t *testing.T) {
	_, err := Load(write(t, "posthouse.toml", host+"[users]\nfile = \"DIR/users\"\n[domains.\"a.example\"]\n"))
	expect(t, err, "3 users.file: no such file")
}

func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir)
	expect(t, err, "1 : not a regular file")
	_, err = Load(dir + "/gone")
	expect(t, err, "1 : no such file")
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir + "/fifo") // and does not wait for a writer
	expect(t, err, "1 : not a regular file")
	_, err = Load(write(t, "posthouse.toml", strings.Repeat("#", maxFile+1)))
	expect(t, err, "1 : larger than 1 MB")
}

func TestFullName(t *testing.T) {
	hosts := "127.0.0.1 localhost\n# 192.0.2.9 old.example box\n192.0.2.1 mail.example.org mail BOX # the host\n"
	for name, want := range map[string]string{"box": "mail.example.org", "other": "other", "localhost": "localhost"} {
		if got := fullName(name, hosts); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
