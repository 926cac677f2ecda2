package smtpd_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// On a Unix socket the kernel names who hands over, which gives it no more rights than others have there.
func TestLMTPOverAUnixSocket(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{Listener: ln, Role: mta.RoleLMTP, TLS: smtpd.NoTLS}, log)
	nc, err := net.Dial("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, `
S: 220 .*
C: LHLO front.test
L: 250 ENHANCEDSTATUSCODES
C: MAIL FROM:<a@away.test> SMTPUTF8
C: RCPT TO:<someone@elsewhere.test>
C: RCPT TO:<alice@here.test>
C: DATA
S: 250 .*
S: 550 5.7.1 Relaying denied
S: 250 .*
S: 354 .*
R: "a: b\n\r\n.\r\n"
S: 550 5.6.0 Message refused: bare LF
C: MAIL FROM:<a@away.test> SMTPUTF8
C: RCPT TO:<alice@here.test>
C: DATA
S: 250 .*
S: 250 .*
S: 354 .*
C: Subject: x
C: .
S: 250 .*
C: QUIT
S: 221 .*
EOF
`, nil)
	all := q.all()
	if len(all) != 1 {
		t.Fatalf("got %d messages, want 1", len(all))
	}
	e, uid := all[0].envelope, os.Getuid()
	if e.Role != mta.RoleLMTP || e.Login != "" || e.Origin.Client != fmt.Sprint("uid=", uid) {
		t.Errorf("got role %q, login %q, client %q", e.Role, e.Login, e.Origin.Client)
	}
	if want := fmt.Sprintf("Received: by mx.here.test (from uid %d) with UTF8LMTP\r\n", uid); !strings.HasPrefix(e.Prepend, want) {
		t.Errorf("got %q, want it to begin with %q", e.Prepend, want)
	}
	if all[0].content != "Subject: x\r\n" {
		t.Errorf("got %q", all[0].content)
	}
}

// A message that is not even read to its end is refused for each recipient as well: the client would try those again for whom it
// has no reply.
func TestLMTPRefusesWhatIsFarTooBigForEach(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{Listener: ln, Role: mta.RoleLMTP, TLS: smtpd.NoTLS, MaxMessageSize: 1000}, log)
	nc, err := net.Dial("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, fmt.Sprintf(`
S: 220 .*
C: LHLO front.test
L: 250 ENHANCEDSTATUSCODES
C: MAIL FROM:<a@away.test>
C: RCPT TO:<bob@here.test>
C: RCPT TO:<alice@here.test>
C: RCPT TO:<alice@here.test>
C: DATA
S: 250 .*
S: 250 .*
S: 250 .*
S: 250 .*
S: 354 .*
R: %q
S: 552 5.3.4 .*
S: 552 5.3.4 .*
S: 552 5.3.4 .*
EOF
`, strings.Repeat(strings.Repeat("x", 98)+"\r\n", (2*1000+1<<20)/100+1)), nil)
	if len(q.all()) != 0 || q.open != 0 {
		t.Errorf("got %d messages and %d open, want none", len(q.all()), q.open)
	}
}
