package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// mailboxes is a configuration with the users alice (a quota of 1 KB) and bob, whose mailboxes are alice and bob.
type mailboxes struct {
	t          *testing.T
	conf, mail string
}

func newMailboxes(t *testing.T) *mailboxes {
	t.Helper()
	dir := t.TempDir()
	m := &mailboxes{t, filepath.Join(dir, "posthouse.toml"), filepath.Join(dir, "mail")}
	m.write(m.conf, fmt.Sprintf("hostname = \"mail.example.org\"\nspool.path = %q\n[domains.\"example.org\"]\n[users]\nfile = \"%s/users\"\n[mailboxes]\npath = \"%s/{local}/{domain}\"\n", dir, dir, m.mail))
	m.write(filepath.Join(dir, "users"), "alice@example.org quota=1KB\nbob@example.org\n")
	return m
}

func (m *mailboxes) write(path, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o770); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mailboxes) box(local string) string { return filepath.Join(m.mail, local, "example.org") }

// run runs posthouse mailbox and returns all that it prints.
func (m *mailboxes) run(wantCode int, stdin string, args ...string) string {
	m.t.Helper()
	var out strings.Builder
	if code := execute(m.t.Context(), append([]string{"mailbox", args[0], "-c", m.conf}, args[1:]...), strings.NewReader(stdin), &out, &out); code != wantCode {
		m.t.Errorf("%v: got status %d, want %d\n%s", args, code, wantCode, &out)
	}
	return out.String()
}

func TestMailboxDeliverPutsAMessageIntoTheMailbox(t *testing.T) {
	m := newMailboxes(t)
	out := m.run(0, "From x Sat Nov 28 2026\nSubject: one\n\ntext\n", "deliver", "Alice@example.org")
	if !strings.HasPrefix(out, "delivered to "+m.box("alice")+" as ") {
		t.Errorf("got %q", out)
	}
	m.run(0, "Subject: two\n\ntext\n", "deliver", "--folder", "Old", "--from", "x@there.test", "alice@example.org")
	for pattern, want := range map[string]string{
		"new/*": "Return-Path: <>\nDelivered-To: alice@example.org\nSubject: one\n\ntext\n", ".Old/new/*": "Return-Path: <x@there.test>\nDelivered-To: alice@example.org\nSubject: two\n\ntext\n",
	} {
		paths, err := filepath.Glob(filepath.Join(m.box("alice"), pattern))
		if err != nil || len(paths) != 1 {
			t.Fatalf("%s: got %v, %v", pattern, paths, err)
		}
		if b, err := os.ReadFile(paths[0]); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v; want %q", pattern, b, err, want)
		}
		if st, err := os.Stat(paths[0]); err != nil || st.Mode().Perm() != 0o640 {
			t.Errorf("%s: got mode %v, %v", pattern, st.Mode(), err)
		}
	}
	if out := m.run(0, "", "quota", "alice@example.org"); !strings.Contains(out, "2 messages, 146 octets of 1KB (14%)\n") {
		t.Errorf("quota: got %q", out)
	}
	for _, c := range []struct {
		code        int
		stdin, want string
		args        []string
	}{
		{exitCantMake, strings.Repeat("x", 950), "full: posthouse mailbox quota", []string{"alice@example.org"}},
		{exitData, " \n", "no message on standard input", []string{"bob@example.org"}},
		{exitData, "x", "--from x y", []string{"--from", "x y", "bob@example.org"}},
		{exitNoUser, "x", "no such user", []string{"carol@example.org"}},
		{64, "x", "wrong number of arguments", nil},
	} {
		if out := m.run(c.code, c.stdin, append([]string{"deliver"}, c.args...)...); !strings.Contains(out, c.want) {
			t.Errorf("%v: got %q, want %q in it", c.args, out, c.want)
		}
	}
	if _, err := os.Stat(m.box("bob")); err == nil {
		t.Error("what was refused has made bob's mailbox")
	}
}

func TestMailboxRepairMendsWhatItHasFound(t *testing.T) {
	m := newMailboxes(t)
	if out := m.run(0, "", "repair"); out != "" {
		t.Errorf("no mailboxes: got %q", out)
	}
	m.run(0, "Subject: one\n\ntext\n", "deliver", "alice@example.org")
	if out := m.run(0, "", "repair"); out != "" {
		t.Errorf("a good mailbox: got %q", out)
	}
	box := m.box("alice")
	m.write(filepath.Join(box, "tmp/old"), "")
	m.write(filepath.Join(box, "tmp/young"), "")
	m.write(filepath.Join(box, ".Old/cur/1.a.h:2,S"), "12345")
	m.write(filepath.Join(box, ".cache/x"), "no Maildir")
	week := time.Now().Add(-7 * 24 * time.Hour)
	for _, err := range []error{
		os.Chtimes(filepath.Join(box, "tmp/old"), week, week), os.Remove(filepath.Join(box, "cur")), os.Chmod(filepath.Join(box, ".Old"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{box + "/cur is missing", box + "/tmp/old was left unfinished on " + week.Format(time.DateOnly), box + "/.Old has mode 0755",
		box + "/.Old/new is missing", box + "/.Old/tmp is missing", "the quota file says 1 messages and "}
	out := m.run(exitFound, "", "repair", "alice@example.org")
	for _, w := range want {
		if !strings.Contains(out, "found: alice@example.org: "+w) {
			t.Errorf("got\n%s\nwant %q in it", out, w)
		}
	}
	if n := strings.Count(out, "found: "); n != len(want) || !strings.Contains(out, "6 faults found; --fix mends what can be mended") {
		t.Errorf("got %d faults, want %d:\n%s", n, len(want), out)
	}
	if _, err := os.Stat(filepath.Join(box, "cur")); err == nil {
		t.Error("without --fix something has changed")
	}
	if out := m.run(0, "", "repair", "--fix"); strings.Count(out, "mended: ") != len(want) {
		t.Errorf("got\n%s\nwant all mended", out)
	}
	if out := m.run(0, "", "repair"); out != "" {
		t.Errorf("afterwards: got %q", out)
	}
	if _, err := os.Stat(filepath.Join(box, "tmp/young")); err != nil {
		t.Errorf("what is being written: %v", err)
	}
	// What only a human can mend is left.
	if err := os.Symlink("/", filepath.Join(box, "new/link")); err != nil {
		t.Fatal(err)
	}
	if out := m.run(exitFound, "", "repair", "--fix"); !strings.Contains(out, "found: alice@example.org: "+box+"/new/link is no message") || !strings.Contains(out, "1 fault left") {
		t.Errorf("a link: got %q", out)
	}
}

// What pop3d keeps in a mailbox, and what it takes over from another server, is of no use where it may not read it.
func TestMailboxRepairLetsPOP3DReadItsFiles(t *testing.T) {
	m := newMailboxes(t)
	m.run(0, "Subject: one\n\ntext\n", "deliver", "bob@example.org")
	if err := os.Chmod(m.mail, os.ModeSetgid|0o770); err != nil {
		t.Fatal(err)
	}
	m.run(0, "", "repair", "--fix") // as another process has made it
	box := m.box("bob")
	for name, mode := range map[string]string{maildir.LockFile: "0660", maildir.UIDLFile: "0660", maildir.DovecotList: "0640", maildir.CourierList: "0640"} {
		m.write(filepath.Join(box, name), "")
		want := "found: bob@example.org: " + box + "/" + name + " has mode 0600, and should have " + mode + "\n"
		if out := m.run(exitFound, "", "repair"); !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
		m.run(0, "", "repair", "--fix")
	}
	if out := m.run(0, "", "repair"); out != "" {
		t.Errorf("afterwards: got %q", out)
	}
}

// One mailbox that cannot be mended leaves the others to be; readers may be at work meanwhile; names are others' to choose.
func TestMailboxRepairGoesOnWhereSomethingCannotBeMended(t *testing.T) {
	m := newMailboxes(t)
	for _, local := range []string{"alice", "bob"} {
		m.run(0, "Subject: one\n\ntext\n", "deliver", local+"@example.org")
		if err := os.Chmod(filepath.Join(m.box(local), "new"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	quotaFile := filepath.Join(m.box("alice"), maildir.QuotaFile)
	if err := os.Remove(quotaFile); err != nil {
		t.Fatal(err)
	}
	m.write(filepath.Join(quotaFile, "file"), "")
	m.write(filepath.Join(m.box("bob"), ".\x1b[2J\xff/new/1.a.h"), "12345")
	out := m.run(exitFound, "", "repair", "--fix")
	for _, want := range []string{"found: alice@example.org: " + quotaFile + " is no file: move it away\n", "mended: bob@example.org: " + m.box("bob") + "/new has mode 0777",
		"mended: bob@example.org: " + m.box("bob") + "/.?[2J\ufffd/tmp is missing\n", "1 fault left"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}

	message, err := filepath.Glob(filepath.Join(m.box("bob"), "new/*"))
	if err != nil || len(message) != 1 {
		t.Fatalf("got %q, %v, want one message", message, err)
	}
	if err := os.Chmod(message[0], 0o666); err != nil {
		t.Fatal(err)
	}
	how := access{uid: os.Geteuid(), gid: os.Getegid(), root: m.mail, above: map[string]bool{}}
	faults, err := faultsOf(box{Path: m.box("bob")}, how, time.Now())
	if err != nil || len(faults) != 1 {
		t.Fatalf("got %v, %v, want one fault", faults, err)
	}
	if err := os.Rename(message[0], filepath.Join(m.box("bob"), "cur", filepath.Base(message[0])+":2,")); err != nil {
		t.Fatal(err)
	}
	if err := faults[0].mend(); err != nil {
		t.Errorf("a reader has moved it: %v", err)
	}
}

// What cannot be mended is told of at the end, with the reason.
func TestMailboxRepairSaysWhatItCouldNotMend(t *testing.T) {
	m := newMailboxes(t)
	m.run(0, "Subject: one\n\ntext\n", "deliver", "alice@example.org")
	m.write(filepath.Join(m.box("alice"), maildir.QuotaFile), "1024S\n5 1\n")
	m.run(0, "Subject: one\n\ntext\n", "deliver", "bob@example.org")
	tmp := filepath.Join(m.box("alice"), "tmp")
	if err := os.Remove(tmp); err != nil {
		t.Fatal(err)
	}
	m.write(tmp, "no folder")
	if err := os.Chmod(filepath.Join(m.box("bob"), "cur"), 0o777); err != nil {
		t.Fatal(err)
	}
	out := m.run(exitIO, "", "repair", "--fix")
	for _, want := range []string{"found: alice@example.org: " + tmp + " is no folder", "mended: bob@example.org: ", "posthouse: alice@example.org: the quota file says 1 messages and 5 octets"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
}

func TestMailboxQuotaRecounts(t *testing.T) {
	m := newMailboxes(t)
	m.run(0, "Subject: one\n\ntext\n", "deliver", "alice@example.org")
	file := filepath.Join(m.box("alice"), maildir.QuotaFile)
	m.write(file, "1024S\n500 7\n")
	if out := m.run(0, "", "quota", "alice@example.org", "bob@example.org"); !strings.Contains(out, "the quota file says 7 messages, 500 octets: --recount mends it\n") ||
		!strings.Contains(out, "bob@example.org: 0 messages, 0 octets, no quota\n") {
		t.Errorf("got %q", out)
	}
	if out := m.run(0, "", "quota", "--recount", "alice@example.org", "bob@example.org"); strings.Contains(out, "quota file") {
		t.Errorf("recounted: got %q", out)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(b), "1024S\n") || !strings.HasSuffix(string(b), " 1\n") {
		t.Errorf("got %q, %v", b, err)
	}
	if out := m.run(0, "", "quota", "--set", "2KB", "alice@example.org", "bob@example.org"); strings.Count(out, " of 2KB (") != 2 {
		t.Errorf("set: got %q", out)
	}
	if out := m.run(0, "", "quota", "--set", "default", "Bob@example.org"); out != "bob@example.org: 0 messages, 0 octets, no quota\n" {
		t.Errorf("set to the default: got %q", out)
	}
	m.run(0, "", "quota", "--set", "1KB", "alice@example.org")
	if users, err := os.ReadFile(filepath.Join(filepath.Dir(m.conf), "users")); err != nil || string(users) != "alice@example.org quota=1KB\nbob@example.org\n" {
		t.Errorf("got the users file %q, %v", users, err)
	}
	if out := m.run(64, "", "quota", "--set", "much", "alice@example.org"); !strings.Contains(out, `--set "much" is no size`) {
		t.Errorf("no size: got %q", out)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if out := m.run(0, "", "quota", "alice@example.org"); !strings.Contains(out, "no count is kept yet, the next delivery makes one") {
		t.Errorf("no file: got %q", out)
	}
}
