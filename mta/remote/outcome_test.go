package remote_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// The words reach the sender in the report: a server that is none must not read as a bad line.
func TestDeferralSaysWhatWentWrong(t *testing.T) {
	hang := make(chan struct{})
	for _, c := range []struct{ name, at, reply, want, text string }{
		{"another protocol", "GREETING", "SSH-2.0-x", "deferred 451 4.5.0", "d.test answers with what is no SMTP"},
		{"a reply that is not the next one", "MAIL", "354 go on", "deferred 451 4.5.0", "d.test answers with what is no SMTP"},
		{"closed", "GREETING", mtatest.Drop, "deferred 451 4.4.2", "connection to d.test was lost"},
		{"silent", "GREETING", "", "deferred 451 4.4.2", "d.test did not answer in time"},
	} {
		n := newNetwork(t, "d.test. 60 IN A 192.0.2.1")
		n.host("192.0.2.1", &mtatest.Sink{On: func(command string) string {
			switch {
			case !strings.HasPrefix(command, c.at):
				return ""
			case c.reply == "":
				<-hang
			}
			return c.reply
		}})
		if c.reply == "" {
			n.opt.Limits.Greeting = 50 * time.Millisecond
		}
		got := n.send("d.test", "x@d.test")
		n.expect(c.name, got, c.want)
		if got[0].Text != c.text {
			t.Errorf("%s: got text %q, want %q", c.name, got[0].Text, c.text)
		}
		if c.reply == "" {
			close(hang)
		}
	}
}
