package mtatest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// StartRedis starts a real Redis on a socket in a folder of its own, empty and with a password, and returns its URL. It ends with stop, or
// with the test. A test is skipped where there is no redis-server, and fails then with CI=true.
func StartRedis(t testing.TB) (url string, stop func()) {
	t.Helper()
	path := Need(t, "redis-server")
	dir, err := os.MkdirTemp("", "redis") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no", "--requirepass", "secret")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = os.RemoveAll(dir)
		})
	}
	t.Cleanup(stop)
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if nc, err := net.Dial("unix", socket); err == nil {
			_ = nc.Close()
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return "unix://:secret@" + socket, stop
		}
	}
	t.Fatal("redis-server did not start")
	return "", nil
}
