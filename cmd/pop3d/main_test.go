package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// instance is a configuration in a folder, and the program that runs on it.
type instance struct {
	*mtatest.Program
	dir   string
	certs *mtatest.Certs
}

func (i *instance) config(t *testing.T, more string) {
	t.Helper()
	text := fmt.Sprintf(`hostname = "mail.example.org"
state = "%[1]s/state"
run = "%[1]s/run"
[log]
format = "text"
[spool]
path = "%[1]s/spool"
[tls]
certificate = %[2]q
key = %[3]q
[domains."example.org"]
[users]
file = "%[1]s/users"
[mailboxes]
path = "%[1]s/mail/{domain}/{local}"
[[pop3d.listen]]
address = "127.0.0.1:0"
%[4]s`, i.dir, i.certs.CertFile, i.certs.KeyFile, more)
	mtatest.Write(t, filepath.Join(i.dir, "posthouse.toml"), text)
}

// start runs the program and returns the address that it listens on.
func start(t *testing.T, bin string) (*instance, string) {
	t.Helper()
	i := &instance{dir: t.TempDir(), certs: mtatest.NewCerts(t, "127.0.0.1")}
	i.config(t, "")
	mtatest.Write(t, filepath.Join(i.dir, "users"), "alice@example.org {PLAIN}secret\n")
	mtatest.Write(t, filepath.Join(i.dir, "mail/example.org/alice/new/1.a.h"), "Subject: x\n\ntext\n")
	i.Program = mtatest.Start(t, bin, "-c", filepath.Join(i.dir, "posthouse.toml"))
	addr := i.Next(t, `event=listening .*address=(\S+)`)[1]
	i.Next(t, "event=ready")
	return i, addr
}

// converse sends each line and wants an answer that begins so.
func converse(t *testing.T, c net.Conn, r *bufio.Reader, steps ...[2]string) {
	t.Helper()
	for _, s := range steps {
		if _, err := fmt.Fprintf(c, "%s\r\n", s[0]); err != nil {
			t.Fatal(err)
		}
		if got, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(got, s[1]) {
			t.Fatalf("%s: got %q, %v; want %q", s[0], got, err, s[1])
		}
	}
}

func TestTheProgramServesReloadsAndStops(t *testing.T) {
	i, addr := start(t, filepath.Join(mtatest.Build(t, "."), "pop3d"))
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(mtatest.Patience))
	r := bufio.NewReader(raw)
	if got, err := r.ReadString('\n'); err != nil || got != "+OK mail.example.org POP3 server ready\r\n" {
		t.Fatalf("greeting: got %q, %v", got, err)
	}
	converse(t, raw, r, [2]string{"USER alice", "-ERR"}, [2]string{"STLS", "+OK"})
	c := tls.Client(raw, i.certs.Client("127.0.0.1"))
	r = bufio.NewReader(c)
	converse(t, c, r, [2]string{"USER alice", "+OK"}, [2]string{"PASS wrong", "-ERR [AUTH]"}, [2]string{"USER alice", "+OK"},
		[2]string{"PASS secret", "+OK 1 messages (20 octets)"}, [2]string{"DELE 1", "+OK"}, [2]string{"QUIT", "+OK"})
	if login := i.Next(t, `event=pop3-login .*login=(\S+)`)[1]; login != "alice@example.org" {
		t.Errorf("got login %s, want alice@example.org", login)
	}
	if left, err := filepath.Glob(filepath.Join(i.dir, "mail/example.org/alice/???/*")); err != nil || len(left) > 0 {
		t.Errorf("the deleted message: got %v, %v; want it gone", left, err)
	}

	i.config(t, "[pop3d]\nexpire = \"30d\"\n")
	i.Signal(t, syscall.SIGHUP)
	i.Next(t, "event=reloaded")
	if got := capa(t, addr); !strings.Contains(got, "\r\nEXPIRE 30\r\n") {
		t.Errorf("CAPA after the reload: got %q, want EXPIRE 30", got)
	}
	i.config(t, "[[pop3d.listen]]\naddress = \"127.0.0.2:0\"\n")
	i.Signal(t, syscall.SIGHUP)
	i.Next(t, "event=reload-failed")
	if got := capa(t, addr); !strings.Contains(got, "\r\nEXPIRE 30\r\n") {
		t.Errorf("CAPA after a reload that was refused: got %q, want EXPIRE 30", got)
	}

	i.Terminate(t)
	i.Next(t, "event=stopped")
}

func capa(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(mtatest.Patience))
	if _, err := fmt.Fprint(c, "CAPA\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAConfigurationWithoutSocketsIsRefused(t *testing.T) {
	dir := t.TempDir()
	mtatest.Write(t, filepath.Join(dir, "users"), "")
	path := filepath.Join(dir, "posthouse.toml")
	mtatest.Write(t, path, fmt.Sprintf("hostname = \"mail.example.org\"\n[users]\nfile = \"%s/users\"\n", dir))
	err := exec.CommandContext(t.Context(), filepath.Join(mtatest.Build(t, "."), "pop3d"), "-c", path).Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 78 {
		t.Errorf("exit: got %v, want status 78", err)
	}
}

func TestAUsersFileWithAFaultIsAFaultOfTheConfiguration(t *testing.T) {
	i := &instance{dir: t.TempDir(), certs: mtatest.NewCerts(t, "127.0.0.1")}
	i.config(t, "")
	mtatest.Write(t, filepath.Join(i.dir, "users"), "no address\n")
	out, err := exec.CommandContext(t.Context(), filepath.Join(mtatest.Build(t, "."), "pop3d"), "-c", filepath.Join(i.dir, "posthouse.toml")).CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 78 || !bytes.Contains(out, []byte("event=config-problem where="+i.dir+"/posthouse.toml key=users.file")) {
		t.Errorf("got %v and\n%s\nwant status 78 and the key", err, out)
	}
}
