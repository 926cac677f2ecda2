package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// anybody may log in with the password, as often as he likes.
type anybody struct{}

func (anybody) Authenticate(_ context.Context, login, given string) (string, error) {
	if given != password || strings.HasPrefix(login, "nobody@") {
		return "", mta.ErrCredentials
	}
	return login, nil
}

func (anybody) OffersScram() (scram, plus bool) { return false, false }

func (anybody) Scram(context.Context, string) (string, mta.ScramVerifier, error) {
	return "", mta.ScramVerifier{}, mta.ErrTransition
}

func (anybody) Delay(netip.Addr, string) time.Duration  { return 0 }
func (anybody) Failed(netip.Addr, string) time.Duration { return 0 }
func (anybody) Succeeded(netip.Addr, string)            {}

// inProcess is a server of the test's own process, which nothing has to be built for.
func inProcess(t *testing.T, b *bench) *server {
	t.Helper()
	s := &server{name: "posthouse", tls: true, mailbox: filepath.Join(b.dir, "mail", "LOCAL")}
	var err error
	if b.trust, err = makeCertificate(b.dir); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(b.dir, "cert.pem"), filepath.Join(b.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	server := pop3d.New(pop3d.Options{
		Hostname: "bench.test", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Auth: anybody{}, Delay: anybody{},
		Mailbox: func(identity string) (string, error) {
			local, _, _ := strings.Cut(identity, "@")
			return s.user(local), nil
		},
		Conns: guard.NewConns(100, 100), LoginAttempts: 3, LoginTimeout: time.Minute, IdleTimeout: time.Minute, DrainTimeout: time.Minute,
		Log: maillog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln, pop3d.Implicit) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestARoundTakesEveryFigure(t *testing.T) {
	if os.Geteuid() != 0 {
		mtatest.Lacking(t, "needs root, to give mailboxes away")
	}
	b := &bench{settings: settings{messages: 60, size: 600, clients: 2, sessions: 6, idle: 2, sized: true}, dir: t.TempDir(), results: map[string]map[string]result{}}
	s := inProcess(t, b)
	b.all = []*server{s}
	for _, u := range b.users()[1:] {
		if err := makeMailbox(s.user(u), small, b.size, b.sized, mailUID); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	b.print(&table)
	for _, figure := range []string{
		"first login, STAT, QUIT", "next login, STAT, QUIT", "login to a settled mailbox, STAT, QUIT", "LIST", "UIDL", "RETR, one by one", "RETR, by 50", "sessions, 2 clients",
	} {
		if r := b.results[figure]["posthouse"]; r.value <= 0 || r.unit == "" {
			t.Errorf("%s: got %+v, want a time or a rate", figure, r)
		}
		if !strings.Contains(table.String(), "\n"+figure+" ") {
			t.Errorf("no line %s in\n%s", figure, &table)
		}
	}
	if _, err := b.dial(s, "nobody"); err == nil || !strings.Contains(err.Error(), "-ERR") {
		t.Errorf("a login that is refused: got %v, want the answer", err)
	}
}
