package smtpd_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// spellings is a router that knows alice in two domains that are one, her folders, and a list.
type spellings struct{}

func (spellings) Accept(_ context.Context, a mta.Address) (smtpd.Destination, error) {
	if user, _, _ := strings.Cut(a.Local, "+"); strings.EqualFold(user, "alice") {
		return smtpd.Destination{Login: mta.Address{Local: "alice", Domain: "here.test"}}, nil
	}
	return smtpd.Destination{Relay: a.Domain == "elsewhere.test"}, nil
}

// One mailbox by several spellings is one recipient, answered for each; what may be different is left as it is.
func TestOneMailboxIsOneRecipient(t *testing.T) {
	for _, role := range []string{mta.RoleMX, mta.RoleLMTP} {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		o.MaxRecipients, o.Router, o.Trusted = 9, spellings{}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		nc := dial(t, serve(t, o, smtpd.Listener{Role: role}, log))
		hello, again := "EHLO", ""
		if role == mta.RoleLMTP {
			hello, again = "LHLO", strings.Repeat("S: 250 2.0.0 Queued as .*\n", 8)
		}
		mtatest.Dialogue(t, nc, `
S: 220 .*
C: `+hello+` front.test
L: 250 ENHANCEDSTATUSCODES
C: MAIL FROM:<a@away.test>
C: RCPT TO:<ALICE@here.test>
C: RCPT TO:<alice@here.test>
C: RCPT TO:<"Alice"@also.test>
C: RCPT TO:<alice@also.test>
C: RCPT TO:<Alice+Lists@here.test>
C: RCPT TO:<alice+lists@here.test>
C: RCPT TO:<Team@here.test>
C: RCPT TO:<team@here.test>
C: RCPT TO:<alice@here.test>
C: DATA
S: 250 .*
`+strings.Repeat("S: 250 2.1.5 OK\n", 9)+`S: 354 .*
C: Subject: x
C: .
S: 250 2.0.0 Queued as .*
`+again+`C: QUIT
S: 221 .*
EOF
`, nil)
		var got []string
		for _, m := range q.all() {
			for _, r := range m.envelope.Rcpts {
				got = append(got, r.Address.String())
			}
		}
		if want := []string{"ALICE@here.test", "Alice+Lists@here.test", "alice+lists@here.test", "Team@here.test", "team@here.test"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", role, got, want)
		}
	}
}

// A host of ours, or a user, names many who are not there: the session goes on for the others. Bad commands count as ever.
func TestRefusedRecipientsEndTheSessionOfStrangersAlone(t *testing.T) {
	for _, c := range []struct {
		role    string
		trusted string
		ends    bool
	}{
		{mta.RoleMX, "192.0.2.0/24", true}, {mta.RoleMX, "127.0.0.0/8", false}, {mta.RoleLMTP, "127.0.0.0/8", false},
	} {
		q, log := &queue{}, &lines{}
		o := options(q, log)
		o.MaxErrors, o.Trusted = 3, []netip.Prefix{netip.MustParsePrefix(c.trusted)}
		nc := dial(t, serve(t, o, smtpd.Listener{Role: c.role}, log))
		hello, end := "EHLO", `
S: 421 4.7.0 .*
EOF
`
		if c.role == mta.RoleLMTP {
			hello = "LHLO"
		}
		if !c.ends {
			end = `
C: RCPT TO:<nobody@here.test>
C: RCPT TO:<alice@here.test>
S: 550 5.1.1 .*
S: 250 2.1.5 OK
C: RCPT TO:alice@here.test
C: RCPT TO:<>
C: NONSENSE
S: 501 .*
S: 501 .*
S: 500 .*
S: 421 4.7.0 .*
EOF
`
		}
		mtatest.Dialogue(t, nc, `
S: 220 .*
C: `+hello+` front.test
L: 250 ENHANCEDSTATUSCODES
C: MAIL FROM:<a@away.test>
C: RCPT TO:<nobody@here.test>
C: RCPT TO:<nobody@here.test>
C: RCPT TO:<nobody@here.test>
S: 250 .*
S: 550 5.1.1 .*
S: 550 5.1.1 .*
S: 550 5.1.1 .*`+end, nil)
	}
}
