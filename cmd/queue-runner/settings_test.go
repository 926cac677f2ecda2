package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// A supervisor that starts the daemon again and again must see that only the operator can help.
func TestFaultsInTheFilesThatTheConfigurationNamesAreItsFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(dir string)
		want   int
	}{
		{"user without a domain", func(dir string) { mtatest.Write(t, filepath.Join(dir, "users"), "alice\n") }, daemon.ExitConfig},
		{"users that others can read", func(dir string) { _ = os.Chmod(filepath.Join(dir, "users"), 0o644) }, daemon.ExitConfig},
		{"no users file", func(dir string) { _ = os.Remove(filepath.Join(dir, "users")) }, daemon.ExitIOError},
		{"alias without a target", func(dir string) { mtatest.Write(t, filepath.Join(dir, "aliases"), "team:\n") }, daemon.ExitConfig},
		{"no aliases file", func(dir string) { _ = os.Remove(filepath.Join(dir, "aliases")) }, daemon.ExitIOError},
		{"no welcome", func(dir string) { _ = os.Remove(filepath.Join(dir, "welcome")) }, daemon.ExitIOError},
		{"nothing wrong", func(string) {}, 0},
	} {
		dir := t.TempDir()
		mtatest.Write(t, filepath.Join(dir, "aliases"), "team: alice\n")
		mtatest.Write(t, filepath.Join(dir, "welcome"), "Subject: hello\n\nhello\n")
		path := instance(t, dir, "[domains.\"example.net\"]\naliases = \""+filepath.Join(dir, "aliases")+"\"\n")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mtatest.Write(t, path, strings.Replace(string(text), "[mailboxes]\n", "[mailboxes]\nwelcome = \""+filepath.Join(dir, "welcome")+"\"\n", 1))
		cfg, err := config.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		c.change(dir)
		tls, err := openTransport(cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{path: path, spool: cfg.Spool.Path, tls: tls, metrics: newMetrics(cfg.Spool.Path)}
		before := tls.names.Load()
		_, err = b.settings(cfg)
		if got := daemon.ExitStatus(err); got != c.want {
			t.Errorf("%s: got status %d of %v, want %d", c.name, got, err, c.want)
		}
		if people := b.people; err == nil {
			if _, err := b.settings(cfg); err != nil || people == nil || b.people != people {
				t.Errorf("%s: read again, %v: what was known of the machine's accounts is forgotten", c.name, err)
			}
		}
		if err != nil && (b.out != nil || tls.names.Load() != before || tls.signs.Load() != nil) {
			t.Errorf("%s: something was changed", c.name)
		}
	}
}
