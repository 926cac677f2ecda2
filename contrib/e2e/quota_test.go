package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestAFullMailboxRefusesMail fills a mailbox until queue-runner tells smtpd, and makes room by POP3.
func TestAFullMailboxRefusesMail(t *testing.T) {
	t.Parallel()
	i := newInstance(t, options{users: []string{"alice", "bob"}, more: "[mailboxes]\nquota = \"20KB\"\nquota_full = \"552\"\n"})
	i.startAll()
	letter := []byte("Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 100))
	send := func() (id string, refused bool) {
		t.Helper()
		c, err := helloSMTP(i.mx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if _, err := c.cmd("250", "MAIL FROM:<alice@here.test> SIZE=%d", len(letter)); err != nil {
			t.Fatal(err)
		}
		answer, err := c.cmd("", "RCPT TO:<bob@here.test>")
		if err != nil || !strings.HasPrefix(answer, "250") {
			if answer != "552 5.2.2 The mailbox is full" {
				t.Fatalf("got %q, %v, want 552 5.2.2", answer, err)
			}
			return "", true
		}
		if _, err := c.cmd("354", "DATA"); err != nil {
			t.Fatal(err)
		}
		answer, err = c.cmd("250", "%s.", letter)
		if err != nil {
			t.Fatal(err)
		}
		return queuedAs.FindStringSubmatch(answer)[1], false
	}
	for range 2 {
		id, refused := send()
		if refused {
			t.Fatal("a mailbox with room is full")
		}
		i.delivered(id, "bob")
	}
	if id, refused := send(); !refused { // smtpd hears of it every ten seconds
		i.queue.Await(t, `event=failed id=`+id+` to=<bob@here.test> reply="552 5.2.2 the mailbox is full"`)
	}
	mtatest.Eventually(t, func() error {
		if id, refused := send(); !refused {
			return fmt.Errorf("%s was taken", id)
		}
		return nil
	})
	status, out := i.posthouse("", "mailbox", "list", "-c", i.conf)
	if status != 0 || !regexp.MustCompile(`bob@here\.test +\d +\d+ +20KB +\d+% `).MatchString(out) {
		t.Errorf("mailbox list: status %d\n%s", status, out)
	}
	if status, out := i.posthouse("", "mailbox", "repair", "-c", i.conf); status != 0 {
		t.Errorf("mailbox repair: status %d\n%s", status, out)
	}
}

// dovecotQuota is a Dovecot that keeps the count of one mailbox.
const dovecotQuota = `base_dir = %[1]s
log_path = /dev/stderr
mail_location = maildir:%[2]s
first_valid_uid = 1
protocols =
ssl = no
mail_plugins = quota
plugin {
  quota = maildir:User quota
  quota_rule = *:bytes=20480
  quota_rule2 = Trash:ignore
}
`

// TestDovecotKeepsTheSameCount delivers and removes by turns with Dovecot, whose count goes on where ours stops, and the other way.
func TestDovecotKeepsTheSameCount(t *testing.T) {
	needRoot(t)
	mtatest.Need(t, "doveadm")
	t.Parallel()
	i := newInstance(t, options{users: []string{"bob"}, more: "[mailboxes]\nquota = \"20KB\"\n"})
	deliver := func(octets int) {
		t.Helper()
		status, out := i.posthouse("Subject: x\n\n"+strings.Repeat("x", octets)+"\n", "mailbox", "deliver", "-c", i.conf, "bob@here.test")
		if status != 0 {
			t.Fatalf("deliver: status %d, %s", status, out)
		}
	}
	dir := filepath.Join(i.dir, "dovecot")
	conf := filepath.Join(dir, "dovecot.conf")
	mtatest.Write(t, conf, fmt.Sprintf(dovecotQuota, dir, i.mailbox("bob")))
	// Dovecot's programs work as somebody else than root.
	dovecot := func(stdin string, args ...string) string {
		t.Helper()
		if out, err := exec.Command("sh", "-c", `chmod 755 "$1" "$1/mail" "$1/mail/here.test" "$1/dovecot" && chmod 644 "$1/dovecot/dovecot.conf" && chown -R 65534:65534 "$1/mail/here.test/bob" "$1/dovecot"`, "sh", i.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		cmd := exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/nonexistent", "USER=bob", args[0], "-c", conf}, args[1:]...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	same := func(when string, messages int) {
		t.Helper()
		theirs := regexp.MustCompile(`MESSAGE +(\d+) `).FindStringSubmatch(dovecot("", "doveadm", "quota", "get"))
		if theirs == nil || theirs[1] != fmt.Sprint(messages) {
			t.Errorf("%s: Dovecot counts %v, want %d messages", when, theirs, messages)
		}
		status, out := i.posthouse("", "mailbox", "quota", "-c", i.conf, "bob@here.test")
		if status != 0 || !strings.Contains(out, fmt.Sprintf(" %d messages, ", messages)) || strings.Contains(out, "the quota file") {
			file, _ := os.ReadFile(filepath.Join(i.mailbox("bob"), "maildirsize"))
			t.Errorf("%s: got status %d, %s\n%s", when, status, out, file)
		}
	}
	deliver(1000)
	deliver(2000)
	same("our deliveries", 2)
	dovecot("Subject: x\n\n"+strings.Repeat("y", 3000)+"\n", "/usr/lib/dovecot/dovecot-lda")
	same("a delivery of Dovecot's", 3)
	dovecot("", "doveadm", "expunge", "mailbox", "INBOX", "1")
	same("a removal of Dovecot's", 2)
	dovecot("", "doveadm", "quota", "recalc")
	deliver(1500)
	same("Dovecot has counted anew", 3)
	if status, out := i.posthouse("", "mailbox", "quota", "-c", i.conf, "--recount", "bob@here.test"); status != 0 {
		t.Fatalf("recount: status %d, %s", status, out)
	}
	dovecot("Subject: x\n\n"+strings.Repeat("z", 500)+"\n", "/usr/lib/dovecot/dovecot-lda")
	same("we have counted anew", 4)
}
