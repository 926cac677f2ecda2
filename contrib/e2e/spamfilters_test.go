package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
)

// TestSpamAndVirusesMeetTheirDaemons has the filters that ask others, and the real ones behind them.
func TestSpamAndVirusesMeetTheirDaemons(t *testing.T) {
	t.Parallel()
	settings := map[string]string{}
	for name, start := range map[string]func(testing.TB) string{"clamav": daemontest.Clamd, "rspamd": daemontest.Rspamd, "spamassassin": daemontest.Spamd} {
		settings[name] = "[filter]\ntimeout = \"1m\"\n[settings]\ntimeout = \"50s\"\naddress = \"" + start(t) + "\"\n"
	}
	i := filtered(t, "enabled = [\"clamav\", \"rspamd\", \"spamassassin\"]\n", settings)
	content := func(subject, body string) string {
		return "X-Old: 1\r\nX-Spam-Status: No, trust me\r\nMessage-ID: <x@far.test>\r\nFrom: a@far.test\r\nSubject: " + subject + "\r\n\r\n" + body + "\r\n"
	}
	for body, want := range map[string]string{
		daemontest.Virus: "550 5.7.1 The message holds a virus: Test.Ours.UNOFFICIAL",
		daemontest.GTUBE: "550 5.7.1 Gtube pattern",
	} {
		if _, _, err := i.connect(t).send([]byte(content("x", body)), "sender@far.test", i.address("bob")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if len(i.files("bob")) != 0 {
		t.Error("what was refused is in the mailbox")
	}
	read := func(id, user, folder string) string {
		i.delivered(id, user)
		list, err := filepath.Glob(filepath.Join(i.mailbox(user), folder, "new", "*"))
		if err != nil || len(list) != 1 {
			t.Fatalf("got %v, %v; want one message", list, err)
		}
		b, err := os.ReadFile(list[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const score = "\nX-Spam-Status: No, score=0.0 tests=none\n"
	got := read(i.deposit(t, content("x", "Hello"), "bob"), "bob", "")
	if !regexp.MustCompile(`\nX-Told: 127\.\d+\.\d+\.\d+ client\.test nobody sender@away\.test 1 [0-9A-Z]{16}\n`).MatchString(got) || !strings.Contains(got, score) ||
		strings.Contains(got, "trust me") || strings.Contains(got, "X-Old") || strings.Contains(got, "X-Spam: ") {
		t.Errorf("mail that is good: got\n%s", got)
	}
	id := i.deposit(t, content("spam", "Hello"), "alice")
	i.smtpd.Await(t, "event=filtered .*id="+id+" filter=rspamd stage=message verdict=quarantine text=\"Rspamd: add-header, 7.00 of 15.00\"")
	if got := read(id, "alice", ".Junk"); !strings.Contains(got, "\nX-Spam: Yes\n") || !strings.Contains(got, score) {
		t.Errorf("mail that may be spam: got\n%s", got)
	}
	// Who has logged in is told to Rspamd, and not asked about by SpamAssassin.
	mine := strings.Replace(content("x", "Hello"), "a@far.test", i.address("alice"), 1)
	id, _, err := i.submit(t, "alice").send([]byte(mine), i.address("alice"), i.address("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(id, "alice", ""); !strings.Contains(got, " client.test alice@here.test alice@here.test 1 "+id) || !strings.Contains(got, "trust me") {
		t.Errorf("mail of a user: got\n%s", got)
	}
}
