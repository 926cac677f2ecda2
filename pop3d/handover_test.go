package pop3d_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/pop3d"
)

// owners serves alice elsewhere: by a goroutine, or by what serve does with the other end.
type owners struct {
	t     *testing.T
	home  string
	serve func(net.Conn)
	over  sync.WaitGroup
}

// errNoLandlock is what a process of theirs cannot give up.
var errNoLandlock = errors.New("the kernel has no Landlock")

func (o *owners) Serves(login string) bool { return strings.HasPrefix(login, "alice@") }

func (o *owners) Open(_ context.Context, login, password string) (string, net.Conn, error) {
	if password != "open sesame" {
		return "", nil, mta.ErrCredentials
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "end")
		if ends[i], err = net.FileConn(f); err != nil {
			return "", nil, err
		}
		_ = f.Close()
	}
	o.over.Go(func() {
		if o.serve != nil {
			o.serve(ends[1])
		} else if err := pop3d.ServeHanded(context.Background(), ends[1], o.home, func(string) error { return errNoLandlock }); err != nil {
			o.t.Errorf("ServeHanded: %v", err)
		}
		_ = ends[1].Close()
	})
	return login, ends[0], nil
}

func elsewhere(t *testing.T, serve func(net.Conn)) *host {
	t.Helper()
	return elsewhereWith(t, serve, func(*pop3d.Options) {})
}

func elsewhereWith(t *testing.T, serve func(net.Conn), change func(*pop3d.Options)) *host {
	t.Helper()
	o := &owners{t: t, serve: serve}
	t.Cleanup(o.over.Wait)
	return start(t, pop3d.Implicit, func(opt *pop3d.Options) {
		dir, err := opt.Mailbox(".")
		if err != nil {
			t.Fatal(err)
		}
		o.home = dir
		opt.Elsewhere, opt.Auth = o, accounts{"bob@example.org": "hunter2"}
		opt.Mailbox = func(string) (string, error) { return "~/alice@example.org", nil }
		change(opt)
	})
}

func TestASessionOfAnotherProcess(t *testing.T) {
	h := elsewhere(t, nil)
	h.put(t, "new/1", "Subject: one\n\n.x\n")
	h.put(t, "cur/2:2,", "Subject: two\n\n"+strings.Repeat("0123456789\n", 50_000))
	c := h.login(t)
	c.send("CAPA\r\nSTAT\r\nRETR 2\r\n")
	c.expect("+OK capabilities follow")
	capa := ""
	for line := c.line(); line != "."; line = c.line() {
		capa += line + "\n"
	}
	if !strings.Contains(capa, "SASL PLAIN LOGIN\n") || strings.Contains(capa, "STLS") {
		t.Errorf("got the capabilities %q", capa)
	}
	c.expect("+OK 2 ...")
	c.expect("+OK ...")
	n := 0
	for line := c.line(); line != "."; line = c.line() {
		n += len(line) + 2
	}
	if want := len("Subject: two\r\n\r\n") + 50_000*12; n != want {
		t.Errorf("got %d octets, want %d", n, want)
	}
	d := h.dial(t)
	d.startTLS(h.certs)
	d.expect("+OK ...")
	d.send("USER alice\r\nPASS open sesame\r\nUSER alice\r\nPASS wrong\r\n")
	d.expect("+OK ...")
	d.expect("-ERR [IN-USE] ...")
	d.expect("+OK ...")
	d.expect("-ERR [AUTH] bad login or password")
	c.send("DELE 1\r\nQUIT\r\n")
	c.expect("+OK ...")
	c.expect("+OK ...")
	h.log.waitFor(t, "login=alice@example.org reason=quit")
	h.log.waitFor(t, "event=pop3-unconfined")
	if h.exists("cur/1:2,") || h.exists("new/1") {
		t.Error("the message that was deleted is there")
	}
}

func TestAClientThatLeavesEndsTheOtherProcess(t *testing.T) {
	h := elsewhere(t, nil)
	h.put(t, "new/1", "Subject: one\n\nx\n")
	c := h.login(t)
	c.send("DELE 1\r\n")
	c.expect("+OK ...")
	_ = c.Close()
	h.log.waitFor(t, `login=alice@example.org reason="client left"`)
	if !h.exists("cur/1") && !h.exists("cur/1:2,") && !h.exists("new/1") {
		t.Error("a message was removed without QUIT")
	}
}

// Where the client has said QUIT it need not hear the answer; and it may say it letter by letter.
func TestAClientThatQuitsAndLeavesHasQuit(t *testing.T) {
	h := elsewhere(t, func(nc net.Conn) {
		r := bufio.NewReader(nc)
		for _, answer := range []string{`{"messages":0,"octets":0}` + "\n", "+OK noop\r\n"} {
			if _, err := r.ReadString('\n'); err != nil {
				t.Errorf("read: %v", err)
			}
			_, _ = io.WriteString(nc, answer)
		}
		_, _ = io.Copy(io.Discard, r)
	})
	c := h.login(t)
	for _, letter := range "NOOP\r\n" {
		c.send(string(letter))
	}
	c.expect("+OK noop")
	c.send("QUIT\r\n")
	_ = c.Close()
	h.log.waitFor(t, "login=alice@example.org reason=quit")
}

func TestTheServersEndEndsTheOtherProcess(t *testing.T) {
	h := elsewhere(t, nil)
	h.put(t, "new/1", "Subject: one\n\nx\n")
	c := h.login(t)
	c.send("NOOP\r\n")
	c.expect("+OK ...")
	h.stop()
	h.log.waitFor(t, `login=alice@example.org reason="server stopped"`)
}

// A process that a user has taken over harms that user's session alone.
func TestProcessesThatDoNotDoTheirWork(t *testing.T) {
	for name, c := range map[string]struct {
		says, want string
	}{
		"nothing":     {"", "-ERR [SYS/TEMP] ..."},
		"nonsense":    {"+OK\r\n", "-ERR [SYS/TEMP] ..."},
		"a long line": {strings.Repeat("x", 1<<20), "-ERR [SYS/TEMP] ..."},
		"a reason":    {`{"why":"mailbox","text":"no\r\n+OK"}` + "\n", "-ERR [SYS/PERM] ..."},
		"no reason":   {`{"why":"?"}` + "\n", "-ERR [SYS/TEMP] ..."},
		"its end":     {`{"messages":7,"octets":9}` + "\n", "+OK 7 messages (9 octets)"},
	} {
		t.Run(name, func(t *testing.T) {
			h := elsewhere(t, func(nc net.Conn) {
				b := make([]byte, 16<<10)
				if _, err := nc.Read(b); err != nil && !errors.Is(err, net.ErrClosed) {
					return
				}
				_, _ = nc.Write([]byte(c.says))
			})
			x := h.dial(t)
			x.startTLS(h.certs)
			x.expect("+OK ...")
			x.send("USER alice\r\nPASS open sesame\r\n")
			x.expect("+OK ...")
			x.expect(c.want)
		})
	}
}

func TestHandoversThatAreNone(t *testing.T) {
	for _, s := range []string{"", "x\n", `{"mailbox":1}` + "\n"} {
		a, b := net.Pipe()
		go func() {
			_, _ = a.Write([]byte(s))
			_ = a.Close()
		}()
		if err := pop3d.ServeHanded(t.Context(), b, filepath.Join(t.TempDir(), "x"), func(string) error { return nil }); err == nil {
			t.Errorf("%q: got no error", s)
		}
	}
}
