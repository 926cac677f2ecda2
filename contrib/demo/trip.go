package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/smtpc"
	"github.com/posthouse-mail/posthouse/mta/tlsconf"
)

// trip is one message on its way.
type trip struct {
	d       *daemons
	tls     *tls.Config
	begun   time.Time
	last    time.Duration // of the hop before
	content []byte
	id      string
}

// roundTrip sends a message from alice to bob and fetches it again.
func roundTrip(ctx context.Context, d *daemons) error {
	conf, err := clientTLS(d.in.cert())
	if err != nil {
		return err
	}
	t := &trip{d: d, tls: conf, begun: time.Now()}
	t.content = letter(t.begun)
	say("\nOne message from %s to %s, %d octets (ms since the first connection):\n", alice, bob, len(t.content))
	for _, leg := range []func(context.Context) error{t.send, t.watch, t.fetch} {
		if err := leg(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause // the connection broke because of it
			}
			return err
		}
	}
	return nil
}

// hop prints where the message is. The log knows the time to the millisecond only, so that a hop may seem to lie before
// the one that led to it.
func (t *trip) hop(at time.Time, format string, args ...any) {
	t.last = max(t.last, at.Sub(t.begun))
	say("  %6d  %s", t.last.Milliseconds(), fmt.Sprintf(format, args...))
}

func (t *trip) now(format string, args ...any) { t.hop(time.Now(), format, args...) }

// send is alice's mail program: submission with STARTTLS and AUTH.
func (t *trip) send(ctx context.Context) error {
	from, err := mta.ParseAddress(alice)
	if err != nil {
		return err
	}
	to, err := mta.ParseAddress(bob)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", submission)
	if err != nil {
		return err
	}
	c := smtpc.New(ctx, conn, "client."+domain, smtpc.Timeouts{})
	defer c.Close()
	if err := c.Hello(); err != nil {
		return fmt.Errorf("submission: %w", err)
	}
	t.now("smtpd         %s greets alice", submission)
	if err := c.StartTLS(t.tls); err != nil {
		return fmt.Errorf("submission: %w", err)
	}
	t.now("smtpd         STARTTLS: %s, certificate verified", tlsconf.Describe(*c.TLS()))
	if err := c.Auth(alice, t.d.in.passwords[alice]); err != nil {
		return fmt.Errorf("submission: %w", err)
	}
	t.now("smtpd         AUTH: %s has logged in", alice)
	results, _, err := c.Send(smtpc.Message{
		From: from, Rcpts: []mta.Recipient{{Address: to}}, Size: int64(len(t.content)), EightBit: true, Content: strings.NewReader(string(t.content)),
	})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return fmt.Errorf("submission: %w", err)
	}
	words := strings.Fields(results[0].Reply.Text)
	if len(words) == 0 {
		return fmt.Errorf("submission: %q, without an id", results[0].Reply)
	}
	t.id = words[len(words)-1]
	accepted, err := t.event(ctx, "smtpd", "accepted")
	if err != nil {
		return err
	}
	t.hop(accepted.at, "smtpd         event=accepted id=%s: in the spool, on the disk", t.id)
	t.now("smtpd         %s", results[0].Reply)
	c.Quit()
	return nil
}

func (t *trip) event(ctx context.Context, program, name string) (event, error) {
	return t.d.log.wait(ctx, func(e event) bool {
		return e.program == program && e.fields["event"] == name && e.fields["id"] == t.id
	})
}

// watch follows the message through the spool into bob's Maildir.
func (t *trip) watch(ctx context.Context) error {
	e, err := t.d.log.wait(ctx, func(e event) bool {
		name := e.fields["event"]
		return e.program == "queue-runner" && e.fields["id"] == t.id && (name == "delivered" || name == "deferred" || name == "failed")
	})
	if err != nil {
		return err
	}
	if e.fields["event"] != "delivered" {
		return fmt.Errorf("queue-runner did not deliver: %s", e.line)
	}
	t.hop(e.at, "queue-runner  event=delivered to=%s by=%s", e.fields["to"], e.fields["by"])
	local, _, _ := strings.Cut(bob, "@")
	folder := t.d.in.path("mail", domain, local, "new")
	list, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	file := ""
	for _, entry := range list {
		if strings.HasPrefix(entry.Name(), t.id) {
			file = entry.Name()
		}
	}
	if file == "" {
		return fmt.Errorf("queue-runner has delivered %s, and %s has no file of that name", t.id, folder)
	}
	t.now("Maildir       %s", filepath.Join(t.d.in.shown, "mail", domain, local, "new", file))
	if e, err = t.event(ctx, "queue-runner", "finished"); err == nil {
		t.hop(e.at, "queue-runner  event=finished: nothing is left to do")
	}
	return err
}

// fetch is bob's mail program. The message stays in the mailbox, for the person who comes with a mail program.
func (t *trip) fetch(ctx context.Context) error {
	c, err := dialPOP3(ctx, pop3)
	if err != nil {
		return fmt.Errorf("POP3: %w", err)
	}
	defer c.close()
	t.now("pop3d         %s greets bob", pop3)
	if err := c.startTLS(ctx, t.tls); err != nil {
		return fmt.Errorf("POP3: %w", err)
	}
	t.now("pop3d         STLS: certificate verified")
	if err := c.login(bob, t.d.in.passwords[bob]); err != nil {
		return fmt.Errorf("POP3: %w", err)
	}
	t.now("pop3d         USER, PASS: %s has logged in", bob)
	number, err := c.find(t.id)
	if err != nil {
		return fmt.Errorf("POP3: %w", err)
	}
	got, err := c.retrieve(number)
	if err != nil {
		return fmt.Errorf("POP3: %w", err)
	}
	t.now("pop3d         RETR %s: %d octets", number, len(got))
	if err := c.quit(); err != nil {
		return fmt.Errorf("POP3: %w", err)
	}
	trace, rest := cutTrace(got)
	if err := same(t.content, rest); err != nil {
		return fmt.Errorf("the message came back changed: %w", err)
	}
	t.now("it came back byte for byte, behind %d octets of trace fields:\n\n%s", len(trace), indent(trace))
	return nil
}

func indent(text []byte) string {
	lines := strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	return "          " + strings.ReplaceAll(lines, "\n", "\n          ")
}
