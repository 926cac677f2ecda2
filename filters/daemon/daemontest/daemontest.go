// Package daemontest is for the tests of filters that ask another daemon: one that answers what a test wants, and real ones
// from the system's packages.
package daemontest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds the wait for a real daemon, which may have much to read when it starts.
const patience = 3 * time.Minute

// Serve answers one connection at a time, in the test's own way, on a network "tcp" or "unix", until the test ends. It
// gives the address as a filter's settings have it.
func Serve(t testing.TB, network string, serve func(net.Conn)) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(Dir(t), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	if network == "unix" {
		return "unix:" + address
	}
	return l.Addr().String()
}

// Dir is a folder whose name is short enough for a socket's, which others may read.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Write writes a file for a daemon to read.
func Write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Need finds a program, also where only root has its path, and skips the test without it; where all is to be tested that
// is an error.
func Need(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path := "/usr/sbin/" + name; exec.Command(path, "--version").Run() == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no " + name)
	}
	t.Skip("no " + name)
	return ""
}

// Start starts a daemon that stays in the foreground, and waits until address, as Serve gives it, can be reached. The daemon
// ends with the test, with all that it has started.
func Start(t testing.TB, address string, command ...string) {
	t.Helper()
	var said output
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(command[0]), said.String())
		}
	})
	network, at := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, at = "unix", path
	}
	for end := time.Now().Add(patience); ; {
		c, err := net.Dial(network, at)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen within %v: %v", command[0], patience, err)
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s has ended: %v", command[0], err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// output is what a daemon has printed, its first MiB.
type output struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < 1<<20 {
		o.text.Write(p)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
