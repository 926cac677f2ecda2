package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/directory"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestUsersOfADatabaseHaveMail: the whole way with users and aliases in PostgreSQL.
func TestUsersOfADatabaseHaveMail(t *testing.T) {
	t.Parallel()
	db := mtatest.StartPostgres(t)
	verifier, err := directory.NewVerifier(directory.SHA512Crypt, password)
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `
CREATE TABLE mailbox (address TEXT PRIMARY KEY, password TEXT, forward TEXT);
CREATE TABLE alias (address TEXT, target TEXT);
INSERT INTO mailbox VALUES ('alice@here.test', '`+verifier+`', NULL), ('carol@here.test', NULL, 'alice@here.test');
INSERT INTO alias VALUES ('team@here.test', 'alice'), ('team@here.test', 'carol');`)
	url := filepath.Join(t.TempDir(), "url")
	mtatest.Write(t, url, db.URL()+"\n")
	i := start(t, options{users: []string{}, top: fmt.Sprintf(`users.driver = "postgres"
users.postgres.url_file = %q
users.postgres.user = "SELECT * FROM mailbox WHERE address = $1"
users.postgres.alias = "SELECT target FROM alias WHERE address = $1"
users.postgres.list = "SELECT address FROM mailbox"
`, url)})
	c, err := dialSMTP(i.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.cmd("250", "EHLO away.test"); err != nil {
		t.Fatal(err)
	}
	id, _, err := c.send([]byte(message("to the team")), "ann@away.test", "team@here.test", "carol@here.test")
	if err != nil {
		t.Fatal(err)
	}
	i.queue.Await(t, "event=delivered id="+id+" to=<team@here.test>")
	i.queue.Await(t, "event=delivered id="+id+" to=<carol@here.test>")
	for _, x := range []struct{ rcpt, want string }{{"nobody@here.test", "550"}, {"bob@here.test", "550"}} {
		if _, err := c.cmd("250", "MAIL FROM:<ann@away.test>"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.cmd(x.want, "RCPT TO:<%s>", x.rcpt); err != nil {
			t.Error(err)
		}
		if _, err := c.cmd("250", "RSET"); err != nil {
			t.Fatal(err)
		}
	}
	db.Exec(t, "INSERT INTO mailbox VALUES ('bob@here.test', NULL, NULL)")
	if id, _, err = c.send([]byte(message("to the new one")), "ann@away.test", "bob@here.test"); err != nil {
		t.Fatal(err)
	}
	i.queue.Await(t, "event=delivered id="+id+" to=<bob@here.test>")
	if n := len(i.files("bob")); n != 1 {
		t.Errorf("bob has %d messages, want 1", n)
	}
	if status, out := i.posthouse("", "user", "list", "--config", i.conf); status != 0 || !strings.Contains(out, "bob@here.test") {
		t.Errorf("user list: %d %s", status, out)
	}
	if status, out := i.posthouse("", "user", "add", "--config", i.conf, "dave@here.test", "--no-password"); status != 78 || !strings.Contains(out, "database") {
		t.Errorf("user add: %d %s", status, out)
	}
	if status, out := i.posthouse("", "mailbox", "list", "--config", i.conf); status != 0 || !strings.Contains(out, "alice@here.test") {
		t.Errorf("mailbox list: %d %s", status, out)
	}
	pop := i.login(t, "alice")
	defer pop.close()
	if list, err := pop.list("UIDL"); err != nil || len(list) != 2 {
		t.Errorf("alice has %d messages, %v, want that to the team and that to carol", len(list), err)
	}
	i.stop()
	i.wantSound()
}
