package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// patience is how long a test waits for what should be there at once, before it fails.
const patience = 2 * time.Minute

// instance is a configuration in a folder, and the program that runs on it.
type instance struct {
	dir   string
	certs *mtatest.Certs
	cmd   *exec.Cmd
	lines chan string // of its log
}

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "posthouse-pop3d")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
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
	write(t, filepath.Join(i.dir, "posthouse.toml"), text, 0o640)
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// start runs the program and returns the address that it listens on.
func start(t *testing.T, bin string) (*instance, string) {
	t.Helper()
	i := &instance{dir: t.TempDir(), certs: mtatest.NewCerts(t, "127.0.0.1"), lines: make(chan string, 1000)}
	i.config(t, "")
	write(t, filepath.Join(i.dir, "users"), "alice@example.org {PLAIN}secret\n", 0o640)
	write(t, filepath.Join(i.dir, "mail/example.org/alice/new/1.a.h"), "Subject: x\n\ntext\n", 0o600)
	i.cmd = exec.CommandContext(t.Context(), bin, "-c", filepath.Join(i.dir, "posthouse.toml"))
	stderr, err := i.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(i.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			i.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = i.cmd.Process.Kill()
		<-read
		_ = i.cmd.Wait()
	})
	_, addr, _ := strings.Cut(i.await(t, "event=listening"), "address=")
	addr, _, _ = strings.Cut(addr, " ")
	i.await(t, "event=ready")
	return i, addr
}

// await returns the next line of the log that has text in it.
func (i *instance) await(t *testing.T, text string) string {
	t.Helper()
	late := time.After(patience)
	var seen []string
	for {
		select {
		case line, ok := <-i.lines:
			if strings.Contains(line, text) {
				return line
			}
			if seen = append(seen, line); !ok {
				t.Fatalf("the program has ended; got log\n%s\nwant %q in it", strings.Join(seen, "\n"), text)
			}
		case <-late:
			t.Fatalf("got log\n%s\nwant %q in it", strings.Join(seen, "\n"), text)
		}
	}
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
	i, addr := start(t, build(t))
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(raw)
	if got, err := r.ReadString('\n'); err != nil || got != "+OK mail.example.org POP3 server ready\r\n" {
		t.Fatalf("greeting: got %q, %v", got, err)
	}
	converse(t, raw, r, [2]string{"USER alice", "-ERR"}, [2]string{"STLS", "+OK"})
	c := tls.Client(raw, i.certs.Client("127.0.0.1"))
	r = bufio.NewReader(c)
	converse(t, c, r, [2]string{"USER alice", "+OK"}, [2]string{"PASS wrong", "-ERR [AUTH]"}, [2]string{"USER alice", "+OK"},
		[2]string{"PASS secret", "+OK 1 messages (20 octets)"}, [2]string{"DELE 1", "+OK"}, [2]string{"QUIT", "+OK"})
	if line := i.await(t, "event=pop3-login "); !strings.Contains(line, "login=alice@example.org") {
		t.Errorf("got log line %q, want the mailbox in it", line)
	}
	if left, err := filepath.Glob(filepath.Join(i.dir, "mail/example.org/alice/???/*")); err != nil || len(left) > 0 {
		t.Errorf("the deleted message: got %v, %v; want it gone", left, err)
	}

	i.config(t, "[pop3d]\nexpire = \"30d\"\n")
	i.signal(t, syscall.SIGHUP)
	i.await(t, "event=reloaded")
	if got := capa(t, addr); !strings.Contains(got, "\r\nEXPIRE 30\r\n") {
		t.Errorf("CAPA after the reload: got %q, want EXPIRE 30", got)
	}
	i.config(t, "[[pop3d.listen]]\naddress = \"127.0.0.2:0\"\n")
	i.signal(t, syscall.SIGHUP)
	i.await(t, "event=reload-failed")
	if got := capa(t, addr); !strings.Contains(got, "\r\nEXPIRE 30\r\n") {
		t.Errorf("CAPA after a reload that was refused: got %q, want EXPIRE 30", got)
	}

	i.signal(t, syscall.SIGTERM)
	i.await(t, "event=stopped")
	if err := i.cmd.Wait(); err != nil {
		t.Errorf("exit: got %v, want status 0", err)
	}
}

func (i *instance) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := i.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func capa(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
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
	write(t, filepath.Join(dir, "users"), "", 0o640)
	path := filepath.Join(dir, "posthouse.toml")
	write(t, path, fmt.Sprintf("hostname = \"mail.example.org\"\n[users]\nfile = \"%s/users\"\n", dir), 0o640)
	err := exec.CommandContext(t.Context(), build(t), "-c", path).Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 78 {
		t.Errorf("exit: got %v, want status 78", err)
	}
}

func TestAUsersFileWithAFaultIsAFaultOfTheConfiguration(t *testing.T) {
	i := &instance{dir: t.TempDir(), certs: mtatest.NewCerts(t, "127.0.0.1")}
	i.config(t, "")
	write(t, filepath.Join(i.dir, "users"), "no address\n", 0o640)
	out, err := exec.CommandContext(t.Context(), build(t), "-c", filepath.Join(i.dir, "posthouse.toml")).CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 78 || !bytes.Contains(out, []byte("event=config-problem where="+i.dir+"/posthouse.toml key=users.file")) {
		t.Errorf("got %v and\n%s\nwant status 78 and the key", err, out)
	}
}
