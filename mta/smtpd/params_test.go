package smtpd_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// TestParametersReachTheQueue: each as its field of the envelope has it.
func TestParametersReachTheQueue(t *testing.T) {
	alice := mta.Address{Local: "alice", Domain: "here.test"}
	at := func(seconds int) time.Time { // synctest's clock begins then
		return time.Date(2000, 1, 1, 0, 0, seconds, 0, time.UTC)
	}
	for _, c := range []struct {
		mail, rcpt string
		want       mta.Envelope
	}{
		{"", "", mta.Envelope{Rcpts: []mta.Recipient{{}}}},
		{"ret=full envid=a+2Bb", "notify=delay,FAILURE ORCPT=rfc822;x+2By@z.test",
			mta.Envelope{Ret: "FULL", EnvID: "a+2Bb", Rcpts: []mta.Recipient{{Notify: "FAILURE,DELAY", ORcpt: "rfc822;x+2By@z.test"}}}},
		{"SMTPUTF8", "NOTIFY=never ORCPT=utf-8;ä@z.test", mta.Envelope{SMTPUTF8: true, Rcpts: []mta.Recipient{{Notify: "NEVER", ORcpt: "utf-8;ä@z.test"}}}},
		{"HOLDFOR=60 BY=120;nt MT-PRIORITY=-9", "", mta.Envelope{ReleaseAt: at(60), DeliverBy: &mta.DeliverBy{At: at(120), Mode: "NT"}, Priority: -9, Rcpts: []mta.Recipient{{}}}},
		{"HOLDUNTIL=2000-01-01T01:00:30+01:00", "", mta.Envelope{ReleaseAt: at(30), Rcpts: []mta.Recipient{{}}}},
	} {
		change := func(o *smtpd.Options) {
			o.DeliverBy, o.Priority, o.FutureRelease = true, true, time.Hour
			o.Trusted = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		}
		inBubbleAs(t, smtpd.Listener{Role: mta.RoleSubmission}, change, func(t *testing.T, ln *pipes, q *queue, _ func() error) {
			x := newClient(t, ln)
			x.send("EHLO c\r\n")
			x.expectLast("250 ")
			x.send("MAIL FROM:<alice@here.test> " + c.mail + "\r\n")
			x.expect("250 ")
			x.send("RCPT TO:<alice@here.test> " + c.rcpt + "\r\n")
			x.expect("250 ")
			x.send("DATA\r\n")
			x.expect("354 ")
			x.send("From: alice@here.test\r\n.\r\n")
			x.expect("250 ")
			e := q.all()[0].envelope
			got := mta.Envelope{
				Ret: e.Ret, EnvID: e.EnvID, SMTPUTF8: e.SMTPUTF8, RequireTLS: e.RequireTLS, DeliverBy: e.DeliverBy,
				ReleaseAt: e.ReleaseAt, Priority: e.Priority, Rcpts: e.Rcpts,
			}
			c.want.Rcpts[0].Address = alice
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(mta.Envelope{})); diff != "" {
				t.Errorf("MAIL %s, RCPT %s: %s", c.mail, c.rcpt, diff)
			}
		})
	}
}
