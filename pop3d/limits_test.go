package pop3d_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// tryLock says whether another open file has the lock.
func tryLock(t *testing.T, f *os.File) bool {
	t.Helper()
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Fatal(err)
	}
	return err != nil
}

func TestConnectionsOverTheBoundAreTurnedAway(t *testing.T) {
	h := start(t, pop3d.StartTLS, func(o *pop3d.Options) { o.Conns = guard.NewConns(20, 1) })
	first := h.dial(t)
	first.expect("+OK...")
	second := h.dial(t)
	second.expect("-ERR [SYS/TEMP] too many connections from this client, try again later")
	second.expectEOF()
	h.log.waitFor(t, "event=pop3-refused")
	first.send("QUIT\r\n")
	first.expect("+OK bye")
	first.expectEOF()
}

func TestAnEndlessLineEndsTheSession(t *testing.T) {
	h := start(t, pop3d.StartTLS, nil)
	c := h.dial(t)
	c.expect("+OK...")
	_, _ = io.WriteString(c, strings.Repeat("x", 17<<10))
	c.expect("-ERR endless line")
}

// writes counts the writes of a connection.
type writes struct {
	net.Conn
	n *atomic.Int32
}

func (w writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

type counting struct {
	net.Listener
	n *atomic.Int32
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return writes{c, l.n}, nil
}

func TestAPipelineIsAnsweredInOneWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	done := make(chan error, 1)
	server := pop3d.New(options(t.TempDir(), nil, &logBuffer{}))
	go func() { done <- server.Serve(t.Context(), counting{ln, &n}, pop3d.StartTLS) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &client{t, conn, bufio.NewReader(conn)}
	c.expect("+OK...")
	before := n.Load()
	c.send("CAPA\r\nCAPA\r\nCAPA\r\nQUIT\r\n")
	for range 3 {
		c.expect("+OK...")
		c.body()
	}
	c.expect("+OK bye")
	c.expectEOF()
	if got := n.Load() - before; got != 1 {
		t.Errorf("got %d writes, want 1", got)
	}
	_ = ln.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve of a closed listener: got %v, want net.ErrClosed", err)
	}
}

// poplib fetches with STLS, compares with what it is given on standard input, and deletes the first message.
const poplib = `
import poplib, ssl, sys
host, port, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3]
p = poplib.POP3(host, port, timeout=30)
assert "STLS" in p.capa(), p.capa()
p.stls(ssl.create_default_context(cafile=ca))
p.user("alice"); p.pass_("open sesame")
count, size = p.stat()
want = sys.stdin.buffer.read()
resp, lines, octets = p.retr(1)
got = b"\r\n".join(lines) + b"\r\n"
assert got == want, (got, want)
assert size == len(want) and count == 1, (count, size)
assert p.uidl(1).split()[2] == b"1.a.h", p.uidl(1)
assert p.top(1, 0)[1] == [b"Subject: x", b""], p.top(1, 0)
p.dele(1); p.quit()
`

func TestPythonsPoplibFetchesAndDeletes(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	h := start(t, pop3d.StartTLS, nil)
	const stored = "Subject: x\n\n.dot\n..\n\ntext\n"
	h.put(t, "new/1.a.h", stored)
	addr, port, _ := net.SplitHostPort(h.addr)
	cmd := exec.CommandContext(t.Context(), python, "-c", poplib, addr, port, h.ca(t))
	cmd.Stdin = bytes.NewReader([]byte(wire(stored)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("poplib: %v\n%s", err, out)
	}
	if h.exists("cur/1.a.h:2,") {
		t.Error("got the message there, want it deleted")
	}
}

func TestCurlFetches(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	for mode, scheme := range map[pop3d.TLSMode]string{pop3d.StartTLS: "pop3", pop3d.Implicit: "pop3s"} {
		h := start(t, mode, nil)
		const stored = "Subject: x\n\n.dot\ntext"
		h.put(t, "new/1.a.h", stored)
		out, err := exec.CommandContext(t.Context(), curl, "-sS", "--ssl-reqd", "--cacert", h.ca(t), "-u", "alice:open sesame", scheme+"://"+h.addr+"/1").CombinedOutput()
		if err != nil || string(out) != wire(stored) {
			t.Errorf("%s: got %q, %v; want %q", scheme, out, err, wire(stored))
		}
	}
}

// ca is a file with the authority of the server's certificate: the chain ends in it.
func (h *host) ca(t *testing.T) string {
	t.Helper()
	return h.certs.CertFile
}
