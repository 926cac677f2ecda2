package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// judge is a command for the filter exec: the subject says what it decides.
const judge = `s=$(sed -n 's/^Subject: *//p' | tr -d '\r' | head -n 1)
case $s in
reject) echo text nobody wants this; exit 1;;
tempfail) exit 75;;
discard) exit 3;;
junk) exit 2;;
edits) printf 'add-header X-Added: yes\nreplace-header Subject: edited\nremove-header X-Old\n';;
more) echo add-recipient carol@here.test;;
fewer) printf 'remove-recipient bob@here.test\nadd-recipient carol@here.test\n';;
folder) echo folder Lists;;
spammy) echo score 6;;
spam) echo score 20;;
bad) echo add-header no field;;
esac
`

// TestWhatFiltersDecideReachesTheMailbox has the verdicts, from the session to the Maildir, and on mail from this machine.
func TestWhatFiltersDecideReachesTheMailbox(t *testing.T) {
	t.Parallel()
	i := filteredFor(t, []string{"alice", "bob", "carol"}, "enabled = [\"exec\"]\nscore_junk = 5.0\nscore_reject = 10.0\n", map[string]string{
		"exec": "[settings]\ncommand = [\"/bin/sh\", \"-c\", '''" + judge + "''']\n",
	})
	for _, folder := range []string{".Junk", ".Lists"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(i.mailbox("bob"), folder, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		subject string
		refusal string // of the content
		where   string // of the mailboxes, "" = nowhere
		text    string // in the message
		lacks   string
	}{
		{"plain", "", "bob/new", "Subject: plain\n", "X-Added"},
		{"reject", "550 5.7.1 nobody wants this", "", "", ""},
		{"tempfail", "451 4.7.1 ", "", "", ""},
		{"bad", "451 4.3.0 Cannot check the mail now", "", "", ""},
		{"spam", "550 5.7.1 Message refused: it looks like spam", "", "", ""},
		{"discard", "", "", "", ""},
		{"junk", "", "bob/.Junk/new", "Subject: junk\n", ""},
		{"spammy", "", "bob/.Junk/new", "Subject: spammy\n", ""},
		{"folder", "", "bob/.Lists/new", "Subject: folder\n", ""},
		{"edits", "", "bob/new", "X-Added: yes\n", "X-Old"},
		{"more", "", "bob/new carol/new", "Subject: more\n", ""},
		{"fewer", "", "carol/new", "Subject: fewer\n", ""},
	} {
		conn := i.connect(t)
		token := "X-Token: " + c.subject
		id, _, err := conn.send([]byte("Subject: "+c.subject+"\r\nX-Old: yes\r\n"+token+"\r\n\r\nx\r\n"), "x@away.test", i.address("bob"))
		conn.close()
		var no *replyError
		if c.refusal != "" {
			if !errors.As(err, &no) || !strings.HasPrefix(no.got, c.refusal) {
				t.Errorf("%s: got %v, want %s", c.subject, err, c.refusal)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.subject, err)
			continue
		}
		if c.where == "" {
			i.smtpd.Await(t, "event=discarded .*id="+id)
			continue
		}
		i.queue.Await(t, "event=finished id="+id)
		var found []string
		for _, f := range i.allFiles() {
			b, err := os.ReadFile(f)
			if err != nil || !strings.Contains(string(b), token+"\n") {
				continue
			}
			rel, err := filepath.Rel(filepath.Join(i.mail, i.domain), filepath.Dir(f))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, rel)
			if !strings.Contains(string(b), c.text) || c.lacks != "" && strings.Contains(string(b), c.lacks) {
				t.Errorf("%s: got\n%s\nwant %q in it, and no %q", c.subject, b, c.text, c.lacks)
			}
		}
		if got := strings.Join(found, " "); got != c.where {
			t.Errorf("%s: got it in %q, want %q", c.subject, got, c.where)
		}
	}
	cmd := exec.Command(filepath.Join(bin, "sendmail"), "-C", i.conf, "bob@here.test")
	cmd.Stdin = strings.NewReader("Subject: edits\n\nx\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sendmail: %v: %s", err, out)
	}
	mtatest.Eventually(t, func() error {
		for _, f := range i.files("bob") {
			if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "X-Added: yes\n") && !strings.Contains(string(b), "X-Token") {
				return nil
			}
		}
		return fmt.Errorf("what sendmail sent was not judged")
	})
	i.stop()
	i.wantSound()
}

// allFiles are the messages of all mailboxes and folders.
func (i *instance) allFiles() (all []string) {
	i.t.Helper()
	for _, pattern := range []string{"*/new/*", "*/cur/*", "*/.*/new/*", "*/.*/cur/*"} {
		list, err := filepath.Glob(filepath.Join(i.mail, i.domain, pattern))
		if err != nil {
			i.t.Fatal(err)
		}
		all = append(all, list...)
	}
	return all
}
