package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

func TestJunkAndTrashExpire(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	put("users", "Bob@example.org {PLAIN}x\nnew@example.org {PLAIN}x\n")
	put("posthouse.toml", fmt.Sprintf("hostname = \"mx.example.org\"\nusers.file = \"%[1]s/users\"\nmailboxes.path = \"%[1]s/mail/{domain}/{local}\"\nmailboxes.junk_expire = \"30d\"\n[domains.\"example.org\"]\n", dir))
	c, err := config.Load(filepath.Join(dir, "posthouse.toml"))
	if err != nil {
		t.Fatal(err)
	}
	const bob = "mail/example.org/Bob/"
	for _, f := range []string{"new/a", ".Junk/new/b", ".Trash/cur/c:2,S", ".Sent/cur/d"} {
		put(bob+f, "x")
	}
	var log bytes.Buffer
	e := &expirer{log: maillog.New(slog.NewTextHandler(&log, nil))}
	e.cfg.Store(c)
	left := func() (n int) {
		for _, f := range []string{"new/a", ".Junk/new/b", ".Trash/cur/c:2,S", ".Sent/cur/d"} {
			if _, err := os.Stat(filepath.Join(dir, bob+f)); err == nil {
				n++
			}
		}
		return n
	}
	e.expire(t.Context(), time.Now().Add(29*24*time.Hour))
	if n := left(); n != 4 || log.Len() > 0 {
		t.Errorf("after 29 days: %d messages are left and the log is %q, want all 4 and nothing", n, &log)
	}
	e.expire(t.Context(), time.Now().Add(31*24*time.Hour))
	if n := left(); n != 2 || !strings.Contains(log.String(), "mailbox=Bob@example.org removed=2") {
		t.Errorf("after 31 days: %d messages are left, want those in the inbox and Sent; the log:\n%s", n, &log)
	}
}
