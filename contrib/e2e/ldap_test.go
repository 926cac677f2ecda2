package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestUsersOfADirectoryHaveMail: the whole way with users and aliases in OpenLDAP, which checks their passwords, and which
// goes away and comes back.
func TestUsersOfADirectoryHaveMail(t *testing.T) {
	t.Parallel()
	entries := "dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\n" +
		"dn: cn=posthouse,dc=example,dc=org\nobjectClass: person\ncn: posthouse\nsn: posthouse\nuserPassword: reads\n"
	for _, name := range []string{"alice", "carol"} {
		entries += fmt.Sprintf("\ndn: uid=%[1]s,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: mailUser\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\n"+
			"mail: %[1]s@here.test\nmailAlternate: team@here.test\nuserPassword: %s\n", name, password)
	}
	s := mtatest.StartSlapd(t, entries)
	access := filepath.Join(t.TempDir(), "ldap")
	if err := os.WriteFile(access, []byte(s.LDAPI+"\ncn=posthouse,dc=example,dc=org\nreads\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	i := start(t, options{users: []string{}, top: fmt.Sprintf(`users.driver = "ldap"
users.ldap.url_file = %q
users.ldap.base = "dc=example,dc=org"
users.ldap.user = "(mail={address})"
users.ldap.alias = "(mailAlternate={address})"
users.ldap.list = "(objectClass=mailUser)"
`, access)})
	c, err := dialSMTP(i.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	rcpt := func(want, to string) {
		t.Helper()
		for _, line := range []struct{ want, text string }{{"250", "MAIL FROM:<ann@away.test>"}, {want, "RCPT TO:<" + to + ">"}, {"250", "RSET"}} {
			if _, err := c.cmd(line.want, "%s", line.text); err != nil {
				t.Errorf("%s: %v", to, err)
			}
		}
	}
	if _, err := c.cmd("250", "EHLO away.test"); err != nil {
		t.Fatal(err)
	}
	id, _, err := c.send([]byte(message("to the team")), "ann@away.test", "team@here.test")
	if err != nil {
		t.Fatal(err)
	}
	i.queue.Await(t, "event=finished id="+id)
	rcpt("550", "nobody@here.test")
	rcpt("550", "*@here.test")
	pop := i.login(t, "alice")
	defer pop.close()
	if list, err := pop.list("UIDL"); err != nil || len(list) != 1 {
		t.Errorf("alice has %d messages, %v, want that to the team", len(list), err)
	}
	for _, args := range [][]string{{"user", "list"}, {"mailbox", "list"}, {"explain", "carol@here.test"}} {
		if status, out := i.posthouse("", append(args, "--config", i.conf)...); status != 0 || !strings.Contains(out, "carol@here.test") {
			t.Errorf("%v: %d %s", args, status, out)
		}
	}
	i.wantSound()

	s.Stop()
	rcpt("451", "carol@here.test")
	rcpt("451", "nobody@here.test")
	if c, err := i.dialPOP3("carol"); err == nil || !strings.Contains(err.Error(), "[SYS/TEMP]") {
		t.Errorf("login while the directory is away: %v", err)
	} else if c != nil {
		c.close()
	}
	i.smtpd.Await(t, "event=users-away driver=ldap")
	if status, out := i.posthouse("", "check", "--config", i.conf); status == 0 || !strings.Contains(out, "ldap: users cannot be looked up now") {
		t.Errorf("check: %d %s", status, out)
	}
	s.Start(t)
	mtatest.Eventually(t, func() error {
		_, _, err := c.send([]byte(message("to carol")), "ann@away.test", "carol@here.test")
		if err != nil {
			_, _ = c.cmd("250", "RSET")
		}
		return err
	})
	i.smtpd.Await(t, "event=users-back driver=ldap")
	i.stop()
	i.wantSound()
}
