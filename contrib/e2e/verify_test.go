package e2e_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestABackupAsksForRecipients: their own host decides; while it is away, those it took before are taken, and others wait.
func TestABackupAsksForRecipients(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	s := (&mtatest.Sink{Extensions: []string{"PIPELINING"}, On: func(command string) string {
		switch {
		case away.Load():
			return mtatest.Drop
		case strings.HasPrefix(command, "RCPT TO:<nobody@"):
			return "550 5.1.1 never heard of"
		}
		return ""
	}}).Start(t, "")
	i := start(t, options{users: []string{"alice"}, more: "[domains.\"far.test\"]\nmailboxes = \"relay\"\nrecipients = \"verify\"\n[[route]]\ndomain = \"far.test\"\nto = \"smtp:" + s.Addr() + "\"\n"})
	ask := func(rcpt, want string) {
		t.Helper()
		c, err := dialSMTP(i.mx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		for _, step := range [][2]string{{"250", "EHLO client.test"}, {"250", "MAIL FROM:<x@away.test>"}, {want, "RCPT TO:<" + rcpt + ">"}} {
			if _, err := c.cmd(step[0], "%s", step[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask("bob@far.test", "250")
	ask("nobody@far.test", "550")
	i.smtpd.Await(t, `event=rejected .*never heard of`)
	if len(s.Messages()) != 0 {
		t.Errorf("it got %v", s.Messages())
	}
	away.Store(true)
	ask("bob@far.test", "250")
	ask("carol@far.test", "450")
	i.smtpd.Await(t, `event=rejected .*cannot be asked for the recipient now: `)
	if _, _, err := i.submit(t, "alice").send([]byte(message("queued")), "alice@here.test", "carol@far.test"); err != nil {
		t.Errorf("a user's own mail: %v", err)
	}
}
