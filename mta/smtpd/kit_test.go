package smtpd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

func TestMain(m *testing.M) { mtatest.VerifyTestMain(m) }

// queue keeps what it is given.
type queue struct {
	mu       sync.Mutex
	messages []taken
	open     int   // begun and neither committed nor aborted
	begin    error // of Begin
	write    error // of Write
	commit   error // of Commit
	hold     chan struct{}
	reached  chan struct{} // when hold is set: a commit has begun
}

type taken struct {
	envelope mta.Envelope
	content  string
}

func (q *queue) Begin() (smtpd.Incoming, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.begin != nil {
		return nil, q.begin
	}
	q.open++
	return &incoming{q: q, id: mta.NewID(time.Now())}, nil
}

func (q *queue) all() []taken {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages
}

type incoming struct {
	q    *queue
	id   mta.ID
	b    bytes.Buffer
	over bool
}

func (m *incoming) ID() mta.ID { return m.id }
func (m *incoming) Write(p []byte) (int, error) {
	if m.over {
		return 0, errors.New("write to an ended message")
	}
	if m.q.write != nil {
		return 0, m.q.write
	}
	return m.b.Write(p)
}

func (m *incoming) Commit(e *mta.Envelope) error {
	if m.q.hold != nil {
		m.q.reached <- struct{}{}
		<-m.q.hold
	}
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	if m.over {
		return errors.New("commit of an ended message")
	}
	m.over = true
	m.q.open--
	if m.q.commit != nil {
		return m.q.commit
	}
	e.ID, e.Size = m.id, int64(m.b.Len())
	m.q.messages = append(m.q.messages, taken{*e, m.b.String()})
	return nil
}

func (m *incoming) Abort() {
	m.q.mu.Lock()
	defer m.q.mu.Unlock()
	if !m.over {
		m.over = true
		m.q.open--
	}
}

// router knows the domain here.test, with the mailboxes alice and bob.
type router struct{}

func (router) Accept(_ context.Context, a mta.Address) (smtpd.Destination, error) {
	switch {
	case a.Local == "later":
		return smtpd.Destination{}, errors.New("lookup: /etc/hidden: no such file")
	case a.Domain != "here.test" && a.Domain != "mx.here.test":
		return smtpd.Destination{Relay: true}, nil
	case a.Local == "alice" || a.Local == "bob" || a.Local == "böb":
		return smtpd.Destination{Login: a, Quota: 900}, nil
	}
	return smtpd.Destination{Refusal: mta.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user here"}}, nil
}

// users knows alice@here.test with the password secret, and carol, who has no verifier for SCRAM.
type users struct{}

func (users) OffersScram() (scram, plus bool) { return true, true }

func (users) Scram(_ context.Context, login string) (string, mta.ScramVerifier, error) {
	switch login {
	case "broken":
		return "", mta.ScramVerifier{}, errors.New("users file: gone")
	case "carol":
		return "", mta.ScramVerifier{}, mta.ErrTransition
	case "alice@here.test":
		c, err := scram.SHA256.NewClient("", "secret", "")
		if err != nil {
			return "", mta.ScramVerifier{}, err
		}
		k, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
		return login, mta.ScramVerifier{Salt: []byte("salt"), Iterations: 4096, StoredKey: [32]byte(k.StoredKey), ServerKey: [32]byte(k.ServerKey)}, err
	}
	return "", mta.ScramVerifier{Salt: []byte("nobody"), Iterations: 4096}, nil
}

func (users) Authenticate(_ context.Context, login, password string) (string, error) {
	switch {
	case login == "broken":
		return "", errors.New("users file: gone")
	case login == "alice@here.test" && password == "secret":
		return login, nil
	}
	return "", mta.ErrCredentials
}

// senders lets alice send as sales too; who may send as later@here.test nobody knows just now.
type senders struct{}

func (senders) MaySend(_ context.Context, role, login string, as mta.Address) (bool, error) {
	switch as.String() {
	case "later@here.test":
		return false, errors.New("lookup: /etc/hidden: no such file")
	case login, "sales@here.test":
		return true, nil
	}
	return false, nil
}

// lines is a log for tests.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func options(q *queue, log *lines) smtpd.Options {
	return smtpd.Options{
		Hostname: "mx.here.test", Queue: q, Router: router{}, Auth: users{}, Senders: senders{},
		Log:           maillog.New(maillog.NewText(log, slog.LevelDebug)),
		MaxRecipients: fuzzRcpts, MaxErrors: 10, MaxLine: 2000, MaxHops: 100,
		Idle: 5 * time.Minute, Session: time.Hour, Drain: time.Minute,
	}
}

// serve runs a server on a loopback port until the test ends, and returns its address. What it logged is shown when the
// test fails.
func serve(t testing.TB, o smtpd.Options, l smtpd.Listener, log *lines) string {
	t.Helper()
	stop, addr := start(t, o, l, log)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return addr
}

// start is serve with the end in the test's hand: stop ends the server and waits for it.
func start(t testing.TB, o smtpd.Options, l smtpd.Listener, log *lines) (stop func() error, addr string) {
	t.Helper()
	if l.Listener == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Listener = ln
	}
	if l.MaxMessageSize == 0 {
		l.MaxMessageSize = 1000
	}
	if l.Role == "" {
		l.Role = mta.RoleMX
	}
	l.Name = "test"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- smtpd.New(o).Serve(ctx, l) }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return sync.OnceValue(func() error { cancel(); return <-done }), l.Addr().String()
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
