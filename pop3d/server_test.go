package pop3d_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/pop3d"
)

func TestMain(m *testing.M) { mtatest.VerifyTestMain(m) }

// accounts are sasl.Accounts: login to password. A password "broken" makes the check itself fail.
type accounts map[string]string

func (a accounts) Authenticate(_ context.Context, login, password string) (string, error) {
	if password == "broken" {
		return "", errors.New("directory is away")
	}
	if want, ok := a[login]; !ok || want != password {
		return "", mta.ErrCredentials
	}
	return login, nil
}

// patient is a LoginDelay without delays.
type patient struct{}

func (patient) Delay(netip.Addr, string) time.Duration  { return 0 }
func (patient) Failed(netip.Addr, string) time.Duration { return 0 }
func (patient) Succeeded(netip.Addr, string)            {}

// recorder is a LoginDelay without delays that remembers what it was told.
type recorder struct {
	patient
	said []string
}

func (r *recorder) Failed(_ netip.Addr, login string) time.Duration {
	r.said = append(r.said, "failed "+login)
	return 0
}

func (r *recorder) Succeeded(_ netip.Addr, login string) { r.said = append(r.said, "succeeded "+login) }

// logBuffer takes the log of many goroutines.
type logBuffer struct {
	mu    sync.Mutex // guards the fields below
	b     bytes.Buffer
	wrote chan struct{} // closed at the next write; nil until somebody waits
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrote != nil {
		close(l.wrote)
		l.wrote = nil
	}
	return l.b.Write(p)
}

// waitFor returns once text stands in the log.
func (l *logBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		l.mu.Lock()
		log := l.b.String()
		if l.wrote == nil {
			l.wrote = make(chan struct{})
		}
		wrote := l.wrote
		l.mu.Unlock()
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-wrote:
		case <-late:
			t.Fatalf("got log %q, want %q in it", log, text)
		}
	}
}

// options are those of the tests: alice@example.org with the password "open sesame" has her mailbox below dir.
func options(dir string, policy *tls.Config, log *logBuffer) pop3d.Options {
	return pop3d.Options{
		Hostname: "mail.example.org", TLS: policy, DefaultDomain: "example.org",
		Auth:    accounts{"alice@example.org": "open sesame", "bob@example.org": "hunter2"},
		Mailbox: func(identity string) (string, error) { return filepath.Join(dir, identity), nil },
		Conns:   guard.NewConns(20, 20), Delay: patient{},
		LoginAttempts: 3, LoginTimeout: time.Minute, IdleTimeout: time.Minute, DrainTimeout: time.Minute,
		Expire: "NEVER", Log: maillog.New(maillog.NewText(log, slog.LevelDebug)),
	}
}

// host is a server on a real socket.
type host struct {
	addr  string
	certs *mtatest.Certs
	dir   string // of mailboxes
	log   *logBuffer
	stop  func() // and wait for the end
}

func start(t *testing.T, mode pop3d.TLSMode, change func(*pop3d.Options)) *host {
	t.Helper()
	h := &host{certs: mtatest.NewCerts(t, "127.0.0.1"), dir: t.TempDir(), log: &logBuffer{}}
	opt := options(h.dir, h.certs.Server(), h.log)
	if change != nil {
		change(&opt)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pop3d.New(opt).Serve(ctx, ln, mode) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// put writes a file into alice's mailbox.
func (h *host) put(t *testing.T, name, content string) {
	t.Helper()
	for _, d := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(h.mailbox(), d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.mailbox(), name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// undeletable keeps a file from being removed, by root too, until the function that it returns is called.
func undeletable(t *testing.T, path string) (release func()) {
	t.Helper()
	const immutable = 0x10 // FS_IMMUTABLE_FL of ioctl_iflags(2)
	set := func(add, remove uint32) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^remove|add))
	}
	if err := set(immutable, 0); err != nil {
		t.Skipf("no immutable files here: %v", err)
	}
	release = sync.OnceFunc(func() {
		if err := set(0, immutable); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release)
	return release
}

func (h *host) mailbox() string { return filepath.Join(h.dir, "alice@example.org") }

func (h *host) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(h.mailbox(), name))
	return err == nil
}

func TestAMailboxWithoutAPlace(t *testing.T) {
	nowhere := func(string) (string, error) { return "", errors.New("no template") }
	for name, h := range map[string]*host{
		"here":      start(t, pop3d.Implicit, func(o *pop3d.Options) { o.Mailbox = nowhere }),
		"elsewhere": elsewhereWith(t, func(net.Conn) {}, func(o *pop3d.Options) { o.Mailbox = nowhere }),
	} {
		c := h.dial(t)
		c.startTLS(h.certs)
		c.expect("+OK ...")
		c.send("USER alice\r\nPASS open sesame\r\n")
		c.expect("+OK ...")
		if got, want := c.line(), "-ERR [SYS/TEMP] login does not work now, try again later"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		h.log.waitFor(t, "no template")
	}
}

func TestAHandshakeThatFailsIsToldAndCounted(t *testing.T) {
	m, counts := pop3d.NewMetrics(), prometheus.NewRegistry()
	counts.MustRegister(m)
	h := start(t, pop3d.StartTLS, func(o *pop3d.Options) { o.Metrics = m })
	c := h.dial(t)
	c.expect("+OK ...")
	c.send("STLS\r\n")
	c.expect("+OK ...")
	c.send("EHLO is no handshake\r\n")
	h.log.waitFor(t, "event=pop3-tls-failed")
	if got := mtatest.Value(t, counts, "posthouse_pop3d_tls_failures_total"); got != 1 {
		t.Errorf("got %v failures, want 1", got)
	}
}

func TestSessionsAreCountedWhileTheyLast(t *testing.T) {
	m, counts := pop3d.NewMetrics(), prometheus.NewRegistry()
	counts.MustRegister(m)
	h := start(t, pop3d.Implicit, func(o *pop3d.Options) { o.Metrics = m })
	h.put(t, "new/1", "Subject: one\n\nx\n")
	c := h.login(t)
	if got := mtatest.Value(t, counts, "posthouse_pop3d_sessions"); got != 1 {
		t.Errorf("while it lasts: got %v, want 1", got)
	}
	c.send("QUIT\r\n")
	c.expect("+OK ...")
	h.log.waitFor(t, "reason=quit")
	if got := mtatest.Value(t, counts, "posthouse_pop3d_sessions"); got != 0 {
		t.Errorf("afterwards: got %v, want 0", got)
	}
}

// client is a peer that knows nothing of POP3 but lines.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (h *host) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute)) // a test that fails must also end
	t.Cleanup(func() { _ = c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

// login connects to an implicit TLS listener and logs alice in.
func (h *host) login(t *testing.T) *client {
	t.Helper()
	c := h.dial(t)
	c.startTLS(h.certs)
	c.expect("+OK mail.example.org POP3 server ready")
	c.send("USER alice\r\nPASS open sesame\r\n")
	c.expect("+OK send the password")
	if line := c.line(); !strings.HasPrefix(line, "+OK") {
		t.Fatalf("login: got %q, want +OK", line)
	}
	return c
}

func (c *client) startTLS(certs *mtatest.Certs) {
	c.t.Helper()
	conn := tls.Client(c.Conn, certs.Client("127.0.0.1"))
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = conn, bufio.NewReader(conn)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("send %q: %v", s, err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read a line: %v, after %q", err, s)
	}
	return strings.TrimSuffix(s, "\r\n")
}

// expect reads a line; want may end in "..." for any rest.
func (c *client) expect(want string) {
	c.t.Helper()
	got := c.line()
	if begin, ok := strings.CutSuffix(want, "..."); ok && strings.HasPrefix(got, begin) {
		return
	}
	if got != want {
		c.t.Fatalf("got line  %q\nwant line %q", got, want)
	}
}

func (c *client) expectEOF() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		c.t.Fatalf("got %q, %v; want the end of the connection", b, err)
	}
}

// body reads a multi-line answer, unstuffed.
func (c *client) body() string {
	c.t.Helper()
	var b strings.Builder
	for {
		s, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("read a body: %v", err)
		}
		if s == ".\r\n" {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(s, "."))
	}
}
