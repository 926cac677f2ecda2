package smtpd_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

const hello = "S: 220 .*\nC: HELO c.test\nC: MAIL FROM:<a@away.test>\nC: RCPT TO:<alice@here.test>\nC: DATA\nS: 250 .*\nS: 250 .*\nS: 250 .*\nS: 354 .*\n"

func TestContentIsKeptAsItCame(t *testing.T) {
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{MaxMessageSize: 1 << 20}, log)
	shapes := []string{
		"", "no header\r\n", "\r\n", "\r\n\r\n\r\n", ".\r\n", "Subject: x\r\n\r\n.\r\n..\r\n", "8-bit \xff\xfe\r\n",
		strings.Repeat("X-Field: value\r\n", 5000), strings.Repeat("x", 1998) + "\r\n",
		strings.Repeat(strings.Repeat("y", 76)+"\r\n", 4000),
	}
	for _, content := range shapes {
		wire := "\r\n" + content
		wire = strings.ReplaceAll(wire, "\r\n.", "\r\n..")[2:] + ".\r\n"
		mtatest.Dialogue(t, dial(t, addr), fmt.Sprintf("%sR: %q\nS: 250 2.0.0 .*\nC: QUIT\nS: 221 .*\nEOF\n", hello, wire), nil)
	}
	got := q.all()
	if len(got) != len(shapes) {
		t.Fatalf("got %d messages, want %d", len(got), len(shapes))
	}
	for i, want := range shapes {
		if got[i].content != want {
			t.Errorf("got %.100q (%d octets), want %.100q (%d)", got[i].content, len(got[i].content), want, len(want))
		}
	}
	if b := got[6].envelope.Body; b != mta.Body8BitMIME {
		t.Errorf("body of 8-bit content: got %q, want %q", b, mta.Body8BitMIME)
	}
}

func TestEnvelopeAndReceived(t *testing.T) {
	certs := mtatest.NewCerts(t, "mx.here.test")
	q, log := &queue{}, &lines{}
	o := options(q, log)
	o.TLS = certs.Server
	addr := serve(t, o, smtpd.Listener{Role: mta.RoleSubmission}, log)
	c, err := gosmtp.DialStartTLS(addr, certs.Client("mx.here.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(gosasl.NewPlainClient("", "alice@here.test", "secret")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("alice@here.test", []string{"x@elsewhere.test"}, strings.NewReader("Subject: x\r\n\r\nhi\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("alice@here.test", []string{"x@elsewhere.test", "bob@here.test"}, strings.NewReader("Subject: hi\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	one, two := q.all()[0], q.all()[1]
	want := regexp.MustCompile(`^Received: from localhost \(\[127\.0\.0\.1\]\)\r\n\tby mx\.here\.test with ESMTPSA\r\n\t\(TLSv1\.3 TLS_[A-Z0-9_]+\)\r\n\tid ` +
		string(one.envelope.ID) + `\r\n\tfor <x@elsewhere\.test>;\r\n\t\w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\nDate: `)
	if !want.MatchString(one.envelope.Prepend) {
		t.Errorf("got %q, want %s", one.envelope.Prepend, want)
	}
	if strings.Contains(two.envelope.Prepend, "for") {
		t.Errorf("Received names one of several recipients: %q", two.envelope.Prepend)
	}
	e := one.envelope
	if e.Role != mta.RoleSubmission || e.Login != "alice@here.test" || e.Origin.Helo != "localhost" || e.Origin.TLS != "TLSv1.3" || e.Size != 18 {
		t.Errorf("got envelope %+v", e)
	}
	if diff := cmp.Diff([]mta.Recipient{{Address: mta.Address{Local: "x", Domain: "elsewhere.test"}}}, e.Rcpts); diff != "" {
		t.Error(diff)
	}
}

func TestHostileHeloDoesNotReachTheHeader(t *testing.T) {
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{}, log)
	script := strings.Replace(hello, "c.test", "evil;(x)<y>", 1) + "C: .\nS: 250 .*\n"
	mtatest.Dialogue(t, dial(t, addr), script, nil)
	if got := q.all()[0].envelope.Prepend; !strings.HasPrefix(got, "Received: from [127.0.0.1] ([127.0.0.1])\r\n") {
		t.Errorf("got %q", got)
	}
}

func TestRefusedContent(t *testing.T) {
	received := strings.Repeat("Received: from a by b; date\r\n", 101)
	for _, c := range []struct{ name, wire, reply string }{
		{"loop", received + "\r\n.\r\n", "554 5.4.6 .*"},
		{"just no loop", received[29:] + "\r\n" + received + ".\r\n", "250 2.0.0 .*"},
		{"one octet too big", strings.Repeat("x", 3999) + "\r\n.\r\n", "550 .*"},
		{"too big", strings.Repeat(strings.Repeat("x", 98)+"\r\n", 100) + ".\r\n", "552 5.3.4 .*"},
		{"too big and bare LF", strings.Repeat(strings.Repeat("x", 98)+"\n", 100) + "\r\n.\r\n", "552 5.3.4 .*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, log := &queue{}, &lines{}
			addr := serve(t, options(q, log), smtpd.Listener{MaxMessageSize: 9000}, log)
			mtatest.Dialogue(t, dial(t, addr), fmt.Sprintf("%sR: %q\nS: %s\nC: NOOP\nS: 250 2.0.0 OK\n", hello, c.wire, c.reply), nil)
			if q.open != 0 {
				t.Errorf("%d messages neither kept nor dropped", q.open)
			}
		})
	}
}

func TestFarTooBigEndsTheSession(t *testing.T) {
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{MaxMessageSize: 1000}, log)
	nc := dial(t, addr)
	defer nc.Close()
	if _, err := io.WriteString(nc, "HELO c\r\nMAIL FROM:<a@away.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n"); err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 98) + "\r\n")
	for range 1 << 20 {
		if _, err := nc.Write(line); err != nil {
			return // it has closed
		}
	}
	t.Error("the server took 100 MB of a message of at most 1000 octets")
}

func TestSpoolErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		q    *queue
		want string
	}{
		{"begin", &queue{begin: spool.ErrFailed}, ""},
		{"write full", &queue{write: fmt.Errorf("%w: /var/spool: ENOSPC", spool.ErrFull)}, "S: 452 4.3.1 Insufficient system storage, try again later\nC: NOOP\nS: 250 .*"},
		{"write failed", &queue{write: spool.ErrFailed}, "S: 451 4.3.0 Cannot take the message now, try again later\nC: NOOP\nS: 250 .*"},
		{"commit full", &queue{commit: spool.ErrFull}, "S: 452 4.3.1 .*\nC: NOOP\nS: 250 .*"},
		{"commit failed", &queue{commit: io.ErrShortWrite}, "S: 451 4.3.0 .*\nC: NOOP\nS: 250 .*"},
		{"fate unknown: no reply at all", &queue{commit: spool.ErrUnknown}, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &lines{}
			addr := serve(t, options(c.q, log), smtpd.Listener{}, log)
			script := hello + "C: x\nC: .\n" + c.want + "\n"
			if c.q.begin != nil {
				script = strings.Replace(hello, "S: 354 .*", "S: 451 4.3.0 .*\nC: NOOP\nS: 250 .*", 1)
			}
			mtatest.Dialogue(t, dial(t, addr), script, nil)
			if len(c.q.all()) != 0 || c.q.open != 0 {
				t.Errorf("got %d messages and %d open, want none", len(c.q.all()), c.q.open)
			}
		})
	}
}

func TestLocalSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "submit.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	q, log := &queue{}, &lines{}
	serve(t, options(q, log), smtpd.Listener{Listener: ln, Role: mta.RoleLocal, TLS: smtpd.NoTLS}, log)
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, `S: 220 .*
R: "HELO localhost\n"
S: 250 .*
C: MAIL FROM:<>
S: 250 .*
C: RCPT TO:<someone@elsewhere.test>
S: 250 .*
C: DATA
S: 354 .*
R: "one\ntwo\rthree\r\n.\r\n"
S: 250 .*
`, nil)
	got := q.all()[0]
	uid := fmt.Sprintf("uid=%d", os.Getuid())
	if got.content != "one\r\ntwo\r\nthree\r\n" || got.envelope.Origin.Client != uid || got.envelope.Login == "" || got.envelope.Role != mta.RoleLocal {
		t.Errorf("got %q from %+v, want it from %s", got.content, got.envelope, uid)
	}
	if want := fmt.Sprintf("Received: by mx.here.test (from uid %d) with SMTP\r\n", os.Getuid()); !strings.HasPrefix(got.envelope.Prepend, want) {
		t.Errorf("got %q, want %q", got.envelope.Prepend, want)
	}
}

// TestPeerWithoutCredentialsIsTurnedAway: as a fault of ours, whose detail stays here.
func TestPeerWithoutCredentialsIsTurnedAway(t *testing.T) {
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{Role: mta.RoleLocal}, log) // TCP has no credentials
	mtatest.Dialogue(t, dial(t, addr), "S: 421 4.3.0 mx.here.test cannot take the connection now, try again later\nEOF\n", nil)
	if want := "peer credentials: not a unix socket"; !strings.Contains(log.String(), want) {
		t.Errorf("the log does not say %q", want)
	}
}

// TestOverlongCommands: refused with the right code, in step, whatever buffer they arrive in.
func TestOverlongCommands(t *testing.T) {
	q, log := &queue{}, &lines{}
	addr := serve(t, options(q, log), smtpd.Listener{}, log)
	mtatest.Dialogue(t, dial(t, addr), fmt.Sprintf("S: 220 .*\nC: NOOP %s\nS: 500 5.5.2 .*\nC: NOOP %s\nS: 500 5.5.2 .*\nC: AUTH PLAIN %s\nS: 500 5.5.6 .*\nC: NOOP %s\nS: 250 .*\nC: %s\nS: 500 5.5.2 .*\nEOF\n",
		strings.Repeat("x", 600), strings.Repeat("x", 30_000), strings.Repeat("x", 13_000), strings.Repeat("x", 500), strings.Repeat("x", 200_000)), nil)
}

func TestRepliesToAGroupGoOutTogether(t *testing.T) {
	q, log := &queue{}, &lines{}
	ln := &pipes{conns: make(chan net.Conn)}
	serve(t, options(q, log), smtpd.Listener{Listener: ln}, log)
	client := ln.dial()
	defer client.Close()
	br := bufio.NewReaderSize(client, 4096)
	if _, err := br.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(2 * time.Minute))
	go func() {
		_, _ = io.WriteString(client, "EHLO c\r\nMAIL FROM:<a@away.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n")
	}()
	b := make([]byte, 4096)
	n, err := client.Read(b)
	if err != nil || !strings.HasSuffix(string(b[:n]), "<CR><LF>.<CR><LF>\r\n") || !strings.HasPrefix(string(b[:n]), "250-mx.here.test\r\n") {
		t.Errorf("one write gave %q, %v; want all four replies", b[:n], err)
	}
}
