package e2e_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestSendersOfForwardsAreRewrittenAndFoundAgain forwards a message to another host, has that report to the sender that it saw,
// and tries what a stranger would.
func TestSendersOfForwardsAreRewrittenAndFoundAgain(t *testing.T) {
	t.Parallel()
	far := (&mtatest.Sink{}).Start(t, ownIP()+":0")
	i := newInstance(t, options{top: "[[route]]\ndomain = \"*\"\nto = \"smtp:" + far.Addr() + "\"\ntls = \"none\"\n", users: []string{"alice"}})
	aliases := filepath.Join(i.dir, "aliases")
	mtatest.Write(t, aliases, "away: alice@far.test\nlist: alice@far.test\nowner-list: alice\n")
	mtatest.Write(t, i.conf, strings.Replace(i.text, "[domains.\"here.test\"]\n", fmt.Sprintf("[domains.\"here.test\"]\naliases = %q\n", aliases), 1))
	if status, out := i.posthouse("", "srs", "rotate", "-c", i.conf); status != 0 {
		t.Fatalf("srs rotate: status %d, %s", status, out)
	}
	i.startAll()

	forward := func(from, to string) (mail string) {
		t.Helper()
		n := len(far.Messages())
		c, err := helloSMTP(i.mx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if _, _, err := c.send([]byte("Subject: x\r\n\r\nx\r\n"), from, to); err != nil {
			t.Fatalf("%s to %s: %v", from, to, err)
		}
		mtatest.Eventually(t, func() error {
			if all := far.Messages(); len(all) > n {
				mail = all[n].Mail + " " + strings.Join(all[n].Rcpts, " ")
				return nil
			}
			return fmt.Errorf("nothing was forwarded")
		})
		return mail
	}
	got := forward("bob@source.test", "away@here.test")
	seen := regexp.MustCompile(`<(SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=source\.test=bob@here\.test)>.*<alice@far\.test>`).FindStringSubmatch(got)
	if seen == nil {
		t.Fatalf("got %q, want a sender of this host", got)
	}
	i.queue.Await(t, `event=expanded id=\w+ to=<away@here.test> members=0 forwarded=1 child=\w+ from="<`+regexp.QuoteMeta(seen[1]))
	// What the other host reports goes on to the first sender.
	if got := forward("", seen[1]); !strings.Contains(got, "<> ") && !strings.Contains(got, "<>") || !strings.Contains(got, "<bob@source.test>") {
		t.Errorf("a report: got %q, want it for bob", got)
	}
	// A bulk sender's address is longer than every host would take; ours does, there and back.
	bulk := "bounces+1234567-" + strings.Repeat("a1b2c3d4", 8) + "-alice=far.test@em42.source.test"
	got = forward(bulk, "away@here.test")
	long := regexp.MustCompile(`<(SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=em42\.source\.test=bounces\+[^>]+@here\.test)>`).FindStringSubmatch(got)
	if long == nil || len(long[1]) < 120 {
		t.Fatalf("got %q, want a long sender of this host", got)
	}
	if got := forward("", long[1]); !strings.Contains(got, "<"+bulk+">") {
		t.Errorf("a report: got %q, want it for %s", got, bulk)
	}
	// So does one that this host makes itself, and another forwarder's sender leads there first.
	if got := forward("SRS0=aaaa=AA=first.test=carol@between.test", "away@here.test"); !strings.Contains(got, "=between.test==aaaa=AA=first.test=carol@here.test>") || !strings.Contains(got, "<SRS1=") {
		t.Errorf("forwarded before: got %q", got)
	}
	// Our own senders, lists with an owner and the null sender need nothing.
	for _, c := range [][3]string{{"alice@here.test", "away@here.test", "<alice@here.test>"}, {"bob@source.test", "list@here.test", "<owner-list@here.test>"}, {"", "away@here.test", "<>"}} {
		if got := forward(c[0], c[1]); !strings.Contains(got, c[2]) {
			t.Errorf("%s to %s: got %q, want %s", c[0], c[1], got, c[2])
		}
	}
	// Who has not the secret reaches nobody through us.
	for _, to := range []string{strings.Replace(seen[1], "=bob@", "=eve@", 1), "SRS0=aaaa=AA=victim.test=eve@here.test", "SRS1=aaaa=victim.test==x@here.test", strings.Replace(seen[1], "here.test", "elsewhere.test", 1)} {
		c, err := helloSMTP(i.mx)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.begin("", to); err == nil || !strings.Contains(err.Error(), "550 5.") {
			t.Errorf("%s: got %v, want 550", to, err)
		}
		c.close()
	}
	status, out := i.posthouse("", "explain", "-c", i.conf, "--from", "bob@source.test", "away@here.test")
	told := regexp.MustCompile(`forwarded   with the sender (SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=source\.test=bob@here\.test)\n`).FindStringSubmatch(out)
	if status != 0 || told == nil {
		t.Fatalf("explain: got status %d and\n%s", status, out)
	}
	if status, out := i.posthouse("", "explain", "-c", i.conf, told[1]); status != 0 || !strings.Contains(out, "the return address (SRS) of what was forwarded for bob@source.test") {
		t.Errorf("explain of the return address: got status %d and\n%s", status, out)
	}
	// A newer secret lets what the older one made come back.
	if status, out := i.posthouse("", "srs", "rotate", "-c", i.conf); status != 0 || !strings.Contains(out, "1 older one;") {
		t.Errorf("srs rotate: status %d, %s", status, out)
	}
	for _, d := range []*mtatest.Program{i.smtpd, i.queue} {
		d.Signal(t, sighup)
		d.Await(t, "event=reloaded")
	}
	if got := forward("", seen[1]); !strings.Contains(got, "<bob@source.test>") {
		t.Errorf("after a rotation: got %q, want it for bob", got)
	}
}

// helloSMTP is dialSMTP, and EHLO.
func helloSMTP(addr string) (*smtpConn, error) {
	c, err := dialSMTP(addr)
	if err == nil {
		_, err = c.cmd("250", "EHLO client.test")
	}
	return c, err
}
