package pop3d

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/guard"
)

func FuzzCommand(f *testing.F) {
	f.Fuzz(func(t *testing.T, in string) {
		r := bufio.NewReaderSize(strings.NewReader(in), lineBuffer)
		read := 0
		for {
			c, err := readCommand(r)
			if errors.Is(err, io.EOF) || errors.Is(err, errFlood) {
				return
			}
			if read++; read > strings.Count(in, "\n") {
				t.Fatalf("%q: got more commands than lines", in)
			}
			if err != nil {
				continue
			}
			if c.verb == "" || strings.Contains(c.verb, " ") || strings.ContainsFunc(c.verb, func(r rune) bool { return r >= 'a' && r <= 'z' }) || strings.ContainsAny(c.verb+c.arg, "\r\n\x00") || len(c.verb)+len(c.arg) > maxLine-2 {
				t.Fatalf("%q: got command %q", in, c)
			}
			if again, err := parseCommand(c.verb + " " + c.arg); err != nil || again != c {
				t.Fatalf("%q: got %q again, %v; want %q", in, again, err, c)
			}
		}
	})
}

// noDelay and anybody let the fuzzer in at once.
type noDelay struct{}

func (noDelay) Delay(netip.Addr, string) time.Duration  { return 0 }
func (noDelay) Failed(netip.Addr, string) time.Duration { return 0 }
func (noDelay) Succeeded(netip.Addr, string)            {}

type anybody struct{}

func (anybody) Authenticate(_ context.Context, login, password string) (string, error) {
	if password != "p" {
		return "", mta.ErrCredentials
	}
	return login, nil
}

func (anybody) OffersScram() (scram, plus bool) { return true, true }

func (anybody) Scram(_ context.Context, login string) (string, mta.ScramVerifier, error) {
	return login, mta.ScramVerifier{Salt: []byte("salt"), Iterations: 4096}, nil
}

// script is a connection whose client says one thing and then hangs up.
type script struct {
	net.Conn // nil: nothing else is called
	in       io.Reader
	out      strings.Builder
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession gives a whole session its octets. Whatever they are, each answer begins with +OK or -ERR, and messages go
// only when there was a QUIT after login that was answered.
func FuzzSession(f *testing.F) {
	f.Fuzz(func(t *testing.T, in string) {
		dir := t.TempDir()
		for _, d := range []string{"new", "cur"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"new/1.a.h", "cur/2.a.h:2,S"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("Subject: x\n\n.\n-dot\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		opt := &Options{Metrics: NewMetrics(), Hostname: "h", Auth: anybody{}, Delay: noDelay{}, Conns: guard.NewConns(1, 1), LoginAttempts: 3, Expire: "NEVER",
			LoginTimeout: time.Hour, IdleTimeout: time.Hour, DrainTimeout: time.Hour, Mailbox: func(string) (string, error) { return dir, nil }}
		conn := &script{in: strings.NewReader(in)}
		c := newConn(conn, opt)
		s := newSession(opt, c, netip.Addr{}, NoTLS)
		c.tls = &tls.ConnectionState{} // as if under TLS
		s.run(t.Context())
		checkAnswers(t, in, conn.out.String())
		if left := count(t, dir); left != 2-s.removed || s.removed > 0 && !strings.HasSuffix(conn.out.String(), "+OK bye\r\n") {
			t.Errorf("%q: got %d messages left and %d removed after %q", in, left, s.removed, conn.out.String())
		}
	})
}

// checkAnswers walks over the answers: one line, or lines up to a dot after the verbs that have them.
func checkAnswers(t *testing.T, in, out string) {
	t.Helper()
	body := false
	for line := range strings.SplitAfterSeq(out, "\n") {
		switch {
		case line == "":
		case !strings.HasSuffix(line, "\r\n"):
			t.Errorf("%q: got a line %q without CR LF", in, line)
		case body:
			body = line != ".\r\n"
		case strings.HasPrefix(line, "+OK capabilities"), strings.HasPrefix(line, "+OK unique"), strings.HasPrefix(line, "+OK ") && strings.HasSuffix(line, " octets\r\n"), strings.HasPrefix(line, "+OK top"),
			strings.HasPrefix(line, "+OK languages"), strings.HasPrefix(line, "+OK mechanisms"):
			body = true
		case line == ".\r\n", isListing(line): // a LIST, whose first line looks like RSET's
		case !strings.HasPrefix(line, "+ ") && !strings.HasPrefix(line, "+OK ") && !strings.HasPrefix(line, "-ERR "):
			t.Errorf("%q: got an answer %q", in, line)
		}
	}
	if body {
		t.Errorf("%q: got an answer without an end: %q", in, out)
	}
}

func isListing(line string) bool {
	a, b, ok := strings.Cut(strings.TrimSuffix(line, "\r\n"), " ")
	_, okA := parseNumber(a)
	_, okB := parseNumber(b)
	return ok && okA && okB
}

func count(t *testing.T, dir string) (n int) {
	t.Helper()
	for _, d := range []string{"new", "cur"} {
		all, err := os.ReadDir(filepath.Join(dir, d))
		if err != nil {
			t.Fatal(err)
		}
		n += len(all)
	}
	return n
}
