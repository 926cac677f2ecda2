package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever file the configuration names, check neither waits for it nor reads it without end, and says what is there instead.
func TestCheckTakesNoFileThatIsNone(t *testing.T) {
	for key, c := range map[string]struct{ file, text string }{
		"include":                   {"more.toml", "include = [\"DIR/more.toml\"]\n"},
		"users.file":                {"users", "[domains.\"example.org\"]\n"},
		"domains.example.org":       {"aliases", "[domains.\"example.org\"]\naliases = \"DIR/aliases\"\n"},
		"domains.example.org.dkim":  {"state/keys/example.org.s1.pem", "[domains.\"example.org\"]\ndkim = [\"s1\"]\n"},
		"srs.enabled":               {"state/keys/srs", ""},
		"tls.certificate":           {"cert", "[tls]\ncertificate = \"DIR/cert\"\nkey = \"DIR/users\"\n"},
		"tls.key":                   {"key", "[tls]\ncertificate = \"DIR/users\"\nkey = \"DIR/key\"\n"},
		"users.postgres.url_file":   {"url", "[users]\ndriver = \"postgres\"\n[users.postgres]\nurl_file = \"DIR/url\"\nuser = \"SELECT $1\"\n"},
		"users.ldap.url_file":       {"url", "[users]\ndriver = \"ldap\"\n[users.ldap]\nurl_file = \"DIR/url\"\nbase = \"dc=test\"\nuser = \"(mail={address})\"\n"},
		"mailboxes.welcome":         {"welcome", "[mailboxes]\nwelcome = \"DIR/welcome\"\n"},
		"outbound.smart_host_login": {"login", "[outbound]\nsmart_host = \"smtps:relay.test\"\nsmart_host_login = \"DIR/login\"\n"},
		"route.login":               {"login", "[[route]]\ndomain = \"a.test\"\nto = \"smtps:relay.test\"\nlogin = \"DIR/login\"\n"},
		"shared.redis_url_file":     {"redis.url", "[shared]\nredis_url_file = \"DIR/redis.url\"\n"},
	} {
		for what, put := range map[string]func(path string) error{
			"a FIFO":   func(path string) error { return unix.Mkfifo(path, 0o600) },
			"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
			"a device": func(path string) error { return os.Symlink("/dev/zero", path) },
			"a flood":  func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<30)) },
		} {
			dir := t.TempDir()
			text := "hostname = \"mail.example.org\"\nstate = \"DIR/state\"\n" + c.text
			if !strings.Contains(text, "[users]") {
				text += "[users]\nfile = \"DIR/users\"\n"
			}
			config, path := filepath.Join(dir, "posthouse.toml"), filepath.Join(dir, c.file)
			if err := errors.Join(os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600), os.WriteFile(filepath.Join(dir, "users"), nil, 0o600),
				os.MkdirAll(filepath.Dir(path), 0o700)); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			status, out, errOut := command(t, "check", "-c", config)
			if status != 78 || !strings.Contains(errOut, path) {
				t.Errorf("%s is %s: got status %d and\n%s%s\nwant 78 and the file's name", key, what, status, out, errOut)
			}
		}
	}
}
