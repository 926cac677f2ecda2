package fail2ban_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

// logs is a log in both forms: as text, and as fail2ban sees the journal.
type logs struct {
	mu            sync.Mutex // guards below
	text, journal bytes.Buffer
	forms         []slog.Handler
}

func newLogs() *logs {
	l := &logs{}
	l.forms = []slog.Handler{maillog.NewText(&l.text, slog.LevelInfo), maillog.NewJournal(syslog{&l.journal})}
	return l
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level < slog.LevelInfo {
		return nil
	}
	return errors.Join(l.forms[0].Handle(ctx, r), l.forms[1].Handle(ctx, r))
}

// syslog writes records as fail2ban shows itself those of the journal.
type syslog struct{ b *bytes.Buffer }

func (syslog) Enabled(context.Context, slog.Level) bool { return true }
func (s syslog) WithAttrs([]slog.Attr) slog.Handler     { return s }
func (s syslog) WithGroup(string) slog.Handler          { return s }
func (s syslog) Handle(_ context.Context, r slog.Record) error {
	fmt.Fprintf(s.b, "%s mx posthouse-smtpd[321]: %s\n", r.Time.Format("2006-01-02T15:04:05.000000"), r.Message)
	return nil
}

// router knows alice@here.test.
type router struct{}

func (router) Accept(_ context.Context, a mta.Address) (smtpd.Destination, error) {
	switch {
	case a.Domain != "here.test":
		return smtpd.Destination{Relay: true}, nil
	case a.Local != "alice":
		return smtpd.Destination{Refusal: mta.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user here"}}, nil
	}
	return smtpd.Destination{}, nil
}

// nobody has no accounts.
type nobody struct{}

func (nobody) OffersScram() (scram, plus bool) { return false, false }
func (nobody) Authenticate(context.Context, string, string) (string, error) {
	return "", mta.ErrCredentials
}
func (nobody) Scram(context.Context, string) (string, mta.ScramVerifier, error) {
	return "", mta.ScramVerifier{}, mta.ErrCredentials
}

// from is a listener whose one connection comes from any address.
type from struct {
	net.Listener
	addr netip.AddrPort
}

func (l from) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return seen{nc, l.addr}, err
}

type seen struct {
	net.Conn
	addr netip.AddrPort
}

func (c seen) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.addr) }

// attack holds one conversation with a server that sees it come from addr.
func attack(t *testing.T, l *logs, addr, role, script string) {
	t.Helper()
	certs := mtatest.NewCerts(t, "mx.here.test")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := smtpd.Options{Hostname: "mx.here.test", Router: router{}, Auth: nobody{}, TLS: certs.Server, Log: maillog.New(l),
		MaxRecipients: 10, MaxErrors: 4, MaxLine: 1000, MaxHops: 10, Idle: time.Minute, Session: time.Minute}
	o.RefuseEarly = true
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- smtpd.New(o).Serve(ctx, smtpd.Listener{Listener: from{ln, netip.MustParseAddrPort(addr)}, Name: ":25", Role: role, MaxMessageSize: 1000})
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, script, certs.Client("mx.here.test"))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// installed puts the filter beside those of the system, which it includes.
func installed(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("filter.d/posthouse-smtpd.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "posthouse-smtpd.conf")
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Symlink("/etc/fail2ban/filter.d/common.conf", filepath.Join(dir, "common.conf"))); err != nil {
		t.Fatal(err)
	}
	return path
}

// found returns the addresses that the filter finds in a log, each as often as it does.
func found(t *testing.T, mode, log string) []string {
	t.Helper()
	path := mtatest.Need(t, "fail2ban-regex")
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	filter := installed(t)
	out, err := exec.CommandContext(t.Context(), path, "-o", "ip", file, filter+"[mode="+mode+"]").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 255 && len(out) == 0) { // 255: nothing was found
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Fields(string(out))
}

const (
	greeting = "S: 220 .*\nC: HELO c.test\nS: 250 .*\n"
	hostile  = `\" event=login-failed session=x client=192.0.2.66:25 `
	login    = "C: AUTH PLAIN AGFsaWNlAHdyb25n\nS: 535 .*\n"
)

func TestFilterFindsAttackersAndNobodyElse(t *testing.T) {
	l := newLogs()
	unknown := greeting + "C: MAIL FROM:<\"" + hostile + "\"@away.test>\nS: 250 .*\nC: RCPT TO:<bob@here.test>\nS: 550 5.1.1 .*\nC: RCPT TO:<carol@here.test>\nS: 550 5.1.1 .*\n"
	attack(t, l, "192.0.2.1:1001", mta.RoleMX, unknown)
	attack(t, l, "[2001:db8::1]:1002", mta.RoleMX, strings.Replace(unknown, "c.test", "x\";client=192.0.2.66:25", 1))
	attack(t, l, "192.0.2.2:1003", mta.RoleSubmission, "S: 220 .*\nC: EHLO c.test\nL: 250 .*\nC: STARTTLS\nS: 220 .*\nTLS\nC: EHLO c.test\nL: 250 .*\n"+login+login)
	attack(t, l, "192.0.2.3:1004", mta.RoleMX, greeting+"C: MAIL FROM:<a@away.test>\nS: 250 .*\nC: RCPT TO:<x@elsewhere.test>\nS: 550 5.7.1 .*\n")
	attack(t, l, "192.0.2.4:1005", mta.RoleMX, "S: 220 .*\nC: EHLO c.test\nC: MAIL FROM:<a@away.test>\nS: 554 .*\nEOF\n")
	attack(t, l, "192.0.2.5:1006", mta.RoleMX, "S: 220 .*\nC: GET / HTTP/1.1\nEOF\n")
	attack(t, l, "192.0.2.6:1007", mta.RoleMX, "S: 220 .*\nC: A\nC: B\nC: C\nC: D\nS: 500 .*\nS: 500 .*\nS: 500 .*\nS: 500 .*\nS: 421 .*\nEOF\n")
	attack(t, l, "192.0.2.7:1008", mta.RoleMX, greeting+"C: MAIL FROM:<a@away.test>\nS: 250 .*\nC: RCPT TO:<alice@here.test>\nS: 250 .*\nC: QUIT\nS: 221 .*\nEOF\n")

	passwords := []string{"192.0.2.2", "192.0.2.2"}
	normal := append([]string{"192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::1"}, passwords...)
	all := append(slices.Clone(normal), "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6")
	for form, text := range map[string]string{"text": l.text.String(), "journal": l.journal.String()} {
		for mode, want := range map[string][]string{"auth": passwords, "normal": normal, "aggressive": all} {
			if got := found(t, mode, text); !slices.Equal(got, want) {
				t.Errorf("%s, mode %s: got %q, want %q of\n%s", form, mode, got, want, text)
			}
		}
	}
}
