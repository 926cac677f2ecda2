package pop3d_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// pipes is a listener whose connections are pipes, which live in a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T) net.Conn {
	a, b := net.Pipe()
	p.conns <- b
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// bubble runs a server and a test in virtual time. The certificate comes from outside: making it takes no time there.
func bubble(t *testing.T, mode pop3d.TLSMode, change func(*pop3d.Options), test func(t *testing.T, h *host, p *pipes)) {
	certs, dir := mtatest.NewCerts(t, "127.0.0.1"), t.TempDir()
	policy := certs.Server()
	synctest.Test(t, func(t *testing.T) {
		h := &host{certs: certs, dir: dir, log: &logBuffer{}}
		opt := options(dir, policy, h.log)
		if change != nil {
			change(&opt)
		}
		ctx, cancel := context.WithCancel(t.Context())
		h.stop = cancel
		p, done := newPipes(), make(chan error, 1)
		go func() { done <- pop3d.New(opt).Serve(ctx, p, mode) }()
		test(t, h, p)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
}

func loginOver(t *testing.T, raw net.Conn, h *host) net.Conn {
	t.Helper()
	policy := h.certs.Client("127.0.0.1")
	policy.InsecureSkipVerify = true // the bubble's clock stands before the certificate's first day
	c := tls.Client(raw, policy)
	readReply(t, c)
	for _, line := range []string{"USER alice\r\n", "PASS open sesame\r\n"} {
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, c); !strings.HasPrefix(got, "+OK") {
			t.Fatalf("%q: got %q", line, got)
		}
	}
	return c
}

func readReply(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// rest reads to the end of a connection and tells how long that took.
func rest(c net.Conn) (string, time.Duration) {
	began := time.Now()
	b, _ := io.ReadAll(c)
	return string(b), time.Since(began)
}

func TestWhoDoesNotLogInIsClosedAfterLoginTimeout(t *testing.T) {
	bubble(t, pop3d.StartTLS, nil, func(t *testing.T, h *host, p *pipes) {
		c := p.dial(t)
		readReply(t, c)
		for range 5 { // what is said meanwhile buys no time
			time.Sleep(10 * time.Second)
			if _, err := io.WriteString(c, "CAPA\r\n"); err != nil {
				t.Fatal(err)
			}
			readReply(t, c)
		}
		if got, took := rest(c); got != "" || took != 10*time.Second {
			t.Errorf("got %q after %v, want the end without a word after 10s", got, took)
		}
	})
}

func TestAHandshakeThatDoesNotComeIsClosedAfterLoginTimeout(t *testing.T) {
	bubble(t, pop3d.Implicit, nil, func(t *testing.T, h *host, p *pipes) {
		if got, took := rest(p.dial(t)); got != "" || took != time.Minute {
			t.Errorf("got %q after %v, want nothing after 1m", got, took)
		}
	})
}

func TestASilentSessionIsClosedAfterIdleTimeoutAndDeletesNothing(t *testing.T) {
	bubble(t, pop3d.Implicit, func(o *pop3d.Options) { o.IdleTimeout = 10 * time.Minute }, func(t *testing.T, h *host, p *pipes) {
		h.put(t, "new/1.a.h", "one\n")
		c := loginOver(t, p.dial(t), h)
		if _, err := io.WriteString(c, "DELE 1\r\n"); err != nil {
			t.Fatal(err)
		}
		readReply(t, c)
		// A command that comes octet by octet is no activity.
		go func() {
			for _, b := range []byte("NOOPNOOP") {
				time.Sleep(90 * time.Second)
				_, _ = c.Write([]byte{b})
			}
		}()
		if got, took := rest(c); got != "" || took != 10*time.Minute {
			t.Errorf("got %q after %v, want the end without a word after 10m", got, took)
		}
		time.Sleep(time.Hour)
		if !h.exists("cur/1.a.h:2,") {
			t.Error("got the message deleted, want it there: there was no QUIT")
		}
	})
}

func TestAClientThatReadsNothingIsClosedAfterIdleTimeout(t *testing.T) {
	bubble(t, pop3d.Implicit, func(o *pop3d.Options) { o.IdleTimeout = 10 * time.Minute }, func(t *testing.T, h *host, p *pipes) {
		h.put(t, "new/1.a.h", strings.Repeat("x\n", 1<<20))
		c := loginOver(t, p.dial(t), h)
		if _, err := io.WriteString(c, "RETR 1\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if got := h.inUse(t); !got {
			t.Error("one second before the timeout: got the mailbox free, want it in use")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := h.inUse(t); got {
			t.Error("after the timeout: got the mailbox in use, want it free")
		}
	})
}

func TestAnIdleSessionIsToldWhenTheServerStops(t *testing.T) {
	bubble(t, pop3d.Implicit, nil, func(t *testing.T, h *host, p *pipes) {
		h.put(t, "new/1.a.h", "one\n")
		c := loginOver(t, p.dial(t), h)
		if _, err := io.WriteString(c, "DELE 1\r\n"); err != nil {
			t.Fatal(err)
		}
		readReply(t, c)
		h.stop()
		if got, took := rest(c); got != "-ERR [SYS/TEMP] server is stopping, try again later\r\n" || took != 0 {
			t.Errorf("got %q after %v, want the line at once", got, took)
		}
		if !h.exists("cur/1.a.h:2,") {
			t.Error("got the message deleted, want it there")
		}
	})
}

func TestAnAnswerUnderWayMayFinishWhenTheServerStops(t *testing.T) {
	const lines = 1 << 18
	bubble(t, pop3d.Implicit, nil, func(t *testing.T, h *host, p *pipes) {
		h.put(t, "new/1.a.h", strings.Repeat("x\n", lines))
		c := loginOver(t, p.dial(t), h)
		if _, err := io.WriteString(c, "RETR 1\r\n"); err != nil {
			t.Fatal(err)
		}
		readReply(t, c)
		h.stop()
		time.Sleep(59 * time.Second)
		got, _ := rest(c)
		if n := strings.Count(got, "x\r\n"); n < lines-512 || !strings.Contains(got, "\r\n.\r\n-ERR [SYS/TEMP]") {
			t.Errorf("got %d lines, ending in %.60q; want all of the message and a last word", n, got[max(0, len(got)-60):])
		}
	})
}

func TestAnAnswerThatNobodyTakesEndsAfterDrainTimeout(t *testing.T) {
	bubble(t, pop3d.Implicit, func(o *pop3d.Options) { o.IdleTimeout = time.Hour }, func(t *testing.T, h *host, p *pipes) {
		h.put(t, "new/1.a.h", strings.Repeat("x\n", 1<<20))
		c := loginOver(t, p.dial(t), h)
		if _, err := io.WriteString(c, "RETR 1\r\n"); err != nil {
			t.Fatal(err)
		}
		readReply(t, c)
		h.stop()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if h.inUse(t) {
			t.Error("got the mailbox in use, want it free")
		}
	})
}

func TestAnAnswerThatIsTakenSlowlyEndsAfterDrainTimeout(t *testing.T) {
	bubble(t, pop3d.Implicit, nil, func(t *testing.T, h *host, p *pipes) {
		h.put(t, "new/1.a.h", strings.Repeat("x\n", 1<<20))
		c := loginOver(t, p.dial(t), h)
		if _, err := io.WriteString(c, "RETR 1\r\n"); err != nil {
			t.Fatal(err)
		}
		readReply(t, c)
		h.stop()
		began, block := time.Now(), make([]byte, 16<<10)
		for {
			if _, err := io.ReadFull(c, block); err != nil {
				break
			}
			time.Sleep(20 * time.Second)
		}
		if took := time.Since(began); took > 90*time.Second {
			t.Errorf("got the end after %v, want it within the drain timeout of 1m", took)
		}
	})
}

func TestFailedLoginsAreAnsweredLaterAndLater(t *testing.T) {
	real := func(o *pop3d.Options) { o.Delay, o.LoginTimeout = guard.NewLoginDelay(nil), time.Hour }
	bubble(t, pop3d.Implicit, real, func(t *testing.T, h *host, p *pipes) {
		policy := h.certs.Client("127.0.0.1")
		policy.InsecureSkipVerify = true
		var waits []time.Duration
		for range 3 {
			c := tls.Client(p.dial(t), policy)
			readReply(t, c)
			for range 3 {
				_, _ = io.WriteString(c, "USER alice\r\n")
				readReply(t, c)
				began := time.Now()
				_, _ = io.WriteString(c, "PASS guess\r\n")
				readReply(t, c)
				waits = append(waits, time.Since(began))
			}
			_ = c.Close()
		}
		if first, last := waits[0], waits[len(waits)-1]; first >= last || last < 8*time.Second {
			t.Errorf("waits: got %v, want them to grow", waits)
		}
	})
}

// inUse says whether a session has alice's mailbox.
func (h *host) inUse(t *testing.T) bool {
	t.Helper()
	f, err := os.Open(filepath.Join(h.mailbox(), "posthouse-pop3.lock"))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return tryLock(t, f)
}

// stopped serves alice by a process that takes the session, so much of what the client says then, and answers nothing.
type stopped int

func (stopped) Serves(login string) bool { return strings.HasPrefix(login, "alice") }

func (n stopped) Open(_ context.Context, login, _ string) (string, net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		b := make([]byte, 16<<10)
		if _, err := theirs.Read(b); err == nil {
			_, _ = io.WriteString(theirs, `{"messages":1,"octets":1}`+"\n")
		}
		_, _ = io.CopyN(io.Discard, theirs, int64(n))
	}()
	return login, ours, nil
}

func TestAProcessThatIsStoppedHoldsNoSession(t *testing.T) {
	for name, c := range map[string]struct {
		takes  stopped
		says   string
		leaves bool
	}{
		"answers nothing, and the client leaves": {6, "NOOP\r\n", true},
		"takes nothing, and the client leaves":   {0, "NOOP\r\n", true},
		"answers nothing, and the client waits":  {6, "NOOP\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, pop3d.Implicit, func(o *pop3d.Options) { o.IdleTimeout, o.Elsewhere = 10*time.Minute, c.takes }, func(t *testing.T, h *host, p *pipes) {
				raw := p.dial(t)
				client := loginOver(t, raw, h)
				if _, err := io.WriteString(client, c.says); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if c.leaves {
					_ = raw.Close()
				}
				time.Sleep(21 * time.Minute)
				synctest.Wait()
				h.log.waitFor(t, "event=pop3-closed")
			})
		})
	}
}
