package smtpd_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/message"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

const (
	addedDate = `Date: \w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n`
	addedID   = `Message-ID: <[0-9A-Z]{16}@mx\.here\.test>\r\n`
)

// TestSubmittedMessagesAreMended: what a message lacks is added, Bcc taken out, and all else is as it came.
func TestSubmittedMessagesAreMended(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	for _, c := range []struct{ name, in, want string }{
		{"nothing there", "", addedDate + addedID + "From: <alice@here\\.test>\r\n"},
		{"a body alone", "\r\nBcc: x\r\n", addedDate + addedID + "From: <alice@here\\.test>\r\n\r\nBcc: x\r\n"},
		{"all there", "Date: x\r\nFrom: alice@here.test\r\nMESSAGE-ID: y\r\n\r\nb\r\n", "Date: x\r\nFrom: alice@here.test\r\nMESSAGE-ID: y\r\n\r\nb\r\n"},
		{"Bcc", "Date: x\r\nBcc: a@b.test,\r\n\tc@d.test\r\nFrom: alice@here.test\r\nresent-bcc :\r\nMessage-Id: y\r\n\r\nBcc: b\r\n",
			"Date: x\r\nFrom: alice@here.test\r\nMessage-Id: y\r\n\r\nBcc: b\r\n"},
		{"a field of the body is none", "From: alice@here.test\r\n\r\nDate: x\r\nMessage-ID: y\r\n", addedDate + addedID + "From: alice@here.test\r\n\r\nDate: x\r\nMessage-ID: y\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, log := &queue{}, &lines{}
			o := options(q, log)
			o.TLS = certs.Server
			addr := serve(t, o, smtpd.Listener{Role: mta.RoleSubmission}, log)
			script := fmt.Sprintf(`S: 220 .*
C: EHLO c
L: 250 STARTTLS
C: STARTTLS
S: 220 .*
TLS
C: EHLO c
L: 250 .*
C: AUTH PLAIN AGFsaWNlQGhlcmUudGVzdABzZWNyZXQ=
S: 235 .*
C: MAIL FROM:<alice@here.test>
C: RCPT TO:<x@elsewhere.test>
S: 250 .*
S: 250 .*
R: "BDAT %d LAST\r\n"
R: %q
S: 250 .*
`, len(c.in), c.in)
			mtatest.Dialogue(t, dial(t, addr), script, certs.Client("mx.here.test"))
			got := q.all()[0]
			if got.content != c.in {
				t.Errorf("content: got %q, want it as it came", got.content)
			}
			want := regexp.MustCompile(`^Received: (?:.*\r\n\t)*.*\r\n` + c.want + "$")
			if r := rendered(t, got); !want.MatchString(r) {
				t.Errorf("rendered: got %q, want %s", r, want)
			}
		})
	}
}

// rendered is what the recipients see.
func rendered(t *testing.T, m taken) string {
	t.Helper()
	b, err := io.ReadAll(message.NewReader(m.envelope.Prepend, m.envelope.Cut, strings.NewReader(m.content), m.envelope.Size))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMessagesOfOthersAreNotMended(t *testing.T) {
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{}, log)
	mtatest.Dialogue(t, dial(t, addr), hello+"C: Bcc: x\nC: .\nS: 250 .*\n", nil)
	if r := rendered(t, q.all()[0]); !strings.HasSuffix(r, "\r\nBcc: x\r\n") || strings.Contains(r, "Date:") || strings.Contains(r, "From:") {
		t.Errorf("got %q, want it as it came, with one field more", r)
	}
}

func TestLocalUsersSendAsThemselves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "submit.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.Peer = func(net.Conn) (smtpd.Peer, error) { return smtpd.Peer{UID: 7, Login: "daemon"}, nil }
	serve(t, o, smtpd.Listener{Listener: ln, Role: mta.RoleLocal, TLS: smtpd.NoTLS}, log)
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, `S: 220 .*
C: EHLO localhost
L: 250 .*
C: MAIL FROM:<bob@here.test>
S: 550 5.7.1 daemon may not send as <bob@here.test>
C: MAIL FROM:<>
S: 250 .*
C: RCPT TO:<bob@here.test>
S: 250 .*
C: DATA
S: 354 .*
C: From: whatever the program likes
C: Bcc: x
C: 
C: .
S: 250 .*
C: MAIL FROM:<>
S: 250 .*
C: RCPT TO:<bob@here.test>
S: 250 .*
R: "BDAT 0 LAST\r\n"
S: 250 .*
`, nil)
	if r := rendered(t, q.all()[0]); !regexp.MustCompile("\r\n" + addedDate + addedID + "From: whatever the program likes\r\n\r\n$").MatchString(r) {
		t.Errorf("got %q", r)
	}
	if r := rendered(t, q.all()[1]); !strings.HasSuffix(r, "From: <daemon@mx.here.test>\r\n") {
		t.Errorf("got %q", r)
	}
}
