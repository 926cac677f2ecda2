package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience ends a test that waits for a process that says nothing.
const patience = 2 * time.Minute

// TestAsAService is the daemon of the test below, in a process of its own: it says hello to whoever connects.
func TestAsAService(t *testing.T) {
	address, path := os.Getenv("DAEMON_TEST_ADDRESS"), os.Getenv("DAEMON_TEST_CONFIG")
	if address == "" {
		t.Skip("only TestUnderAServiceManager runs this")
	}
	os.Exit(start("testd", []string{"-c", path}, os.Stdout, os.Stderr, func(ctx context.Context, a *App) error {
		ln, err := a.Listen(address, 0)
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { ln.Close() })()
		if err := a.Ready(); err != nil {
			return err
		}
		for {
			c, err := ln.Accept()
			if err != nil {
				return context.Cause(ctx)
			}
			_, err = io.WriteString(c, "hello\n")
			c.Close()
			if err != nil {
				return err
			}
		}
	}))
}

func TestUnderAServiceManager(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The protocol wants the process id of the daemon itself, which only the process that becomes it can know.
	cmd := exec.CommandContext(ctx, "sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestAsAService$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=20000",
		"DAEMON_TEST_ADDRESS="+ln.Addr().String(), "DAEMON_TEST_CONFIG="+writeConfig(t, dir, ""))
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		if err := notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 256); ; {
			n, err := notify.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v\n%s", want, err, &log)
			}
			if got, _, _ := strings.Cut(string(b[:n]), "\n"); got == want {
				return
			}
		}
	}
	hears("READY=1")
	hears("WATCHDOG=1")
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello\n" {
		t.Errorf("got %q, %v over the inherited socket", b, err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1")
	hears("READY=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	go func() { _, _ = io.Copy(io.Discard, notify) }() // its watchdog goes on, and waits where the socket is full
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v\n%s", err, &log)
	}
	if !strings.Contains(log.String(), "activated=systemd") {
		t.Errorf("got log\n%s\nwant the inherited socket in it", &log)
	}
}
