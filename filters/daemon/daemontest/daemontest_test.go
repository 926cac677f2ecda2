package daemontest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verdict stands in for a test: what is told of it is kept.
type verdict struct {
	testing.TB
	said     string
	ended    string // how it was ended, "" by itself
	cleanups []func()
}

func (*verdict) Helper()                        {}
func (v *verdict) Cleanup(f func())             { v.cleanups = append(v.cleanups, f) }
func (v *verdict) Failed() bool                 { return v.ended == "fatal" }
func (v *verdict) Logf(format string, a ...any) { v.said += "\n" + fmt.Sprintf(format, a...) }
func (v *verdict) Fatal(a ...any)               { v.end("fatal", fmt.Sprint(a...)) }
func (v *verdict) Skip(a ...any)                { v.end("skip", fmt.Sprint(a...)) }
func (v *verdict) Fatalf(format string, a ...any) {
	v.end("fatal", fmt.Sprintf(format, a...))
}

func (v *verdict) end(how, said string) {
	v.ended, v.said = how, said
	runtime.Goexit()
}

// judge runs what a test would, with what it has left for its end.
func judge(t *testing.T, test func(t testing.TB)) *verdict {
	v, done := &verdict{TB: t}, make(chan struct{})
	go func() { // which Fatal ends
		defer close(done)
		test(v)
	}()
	<-done
	for i := len(v.cleanups) - 1; i >= 0; i-- {
		v.cleanups[i]()
	}
	return v
}

func TestServeAnswersOneAfterTheOther(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		var address string
		v := judge(t, func(t testing.TB) {
			n := 0
			address = Serve(t, network, func(c net.Conn) {
				n++
				_, _ = fmt.Fprintf(c, "%d", n)
			})
			for _, want := range []string{"1", "2", "3"} {
				at, isPath := strings.CutPrefix(address, "unix:")
				if isPath != (network == "unix") {
					t.Fatalf("the address %s for %s", address, network)
				}
				c, err := net.Dial(network, at)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(c)
				if _ = c.Close(); err != nil || string(got) != want {
					t.Fatalf("got %q, %v, want %s", got, err, want)
				}
			}
		})
		if v.ended != "" {
			t.Errorf("%s: %s", network, v.said)
		}
		if c, err := net.Dial(network, strings.TrimPrefix(address, "unix:")); err == nil {
			_ = c.Close()
			t.Errorf("%s: it still listens after the test", network)
		}
	}
}

func TestDirIsShortAndGoneAfterTheTest(t *testing.T) {
	var path string
	if v := judge(t, func(t testing.TB) { path = Write(t, Dir(t), "conf", "text") }); v.ended != "" {
		t.Fatal(v.said)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) || filepath.Base(path) != "conf" {
		t.Errorf("%s: %v, want it gone", path, err)
	}
	if v := judge(t, func(t testing.TB) { Write(t, "/nowhere", "conf", "") }); v.ended != "fatal" {
		t.Error("a file that cannot be written goes unnoticed")
	}
}

func TestNeed(t *testing.T) {
	if v := judge(t, func(t testing.TB) {
		if path := Need(t, "sh"); !filepath.IsAbs(path) {
			t.Fatal(path)
		}
	}); v.ended != "" {
		t.Errorf("sh: %s", v.said)
	}
	for ci, want := range map[string]string{"": "skip", "true": "fatal"} {
		t.Setenv("CI", ci)
		if v := judge(t, func(t testing.TB) { Need(t, "no-such-daemon") }); v.ended != want || v.said != "no no-such-daemon" {
			t.Errorf("CI=%q: %s, %q; want %s", ci, v.ended, v.said, want)
		}
	}
}

// TestDaemon is no test of its own: it is the daemon of the next one, which tells its process's id to who connects. It has left somebody
// behind, and prints much.
func TestDaemon(t *testing.T) {
	path := os.Getenv("DAEMONTEST_SOCKET")
	if path == "" {
		t.Skip("only TestStart runs this")
	}
	child := exec.Command("/bin/sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Println(strings.Repeat("a line\n", 1<<18))
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "%d %d", os.Getpid(), child.Process.Pid)
		_ = c.Close()
	}
}

func TestStart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var daemon, child int
	v := judge(t, func(t testing.TB) {
		path := Dir(t) + "/s"
		Start(t, "unix:"+path, "/usr/bin/env", "DAEMONTEST_SOCKET="+path, self, "-test.run=^TestDaemon$")
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fscan(c, &daemon, &child); err != nil {
			t.Fatal(err)
		}
	})
	if v.ended != "" {
		t.Fatal(v.said)
	}
	if err := syscall.Kill(daemon, 0); err != syscall.ESRCH {
		t.Errorf("the daemon is still there: %v", err)
	}
	for end := time.Now().Add(patience); running(child); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what it has started is still there")
		}
	}
	v = judge(t, func(t testing.TB) {
		Start(t, "unix:"+Dir(t)+"/s", "/bin/sh", "-c", "echo a line of its config is wrong; exit 3")
	})
	if v.ended != "fatal" || !strings.Contains(v.said, "/bin/sh has ended: exit status 3") || !strings.Contains(v.said, "sh said:\na line of its config is wrong") {
		t.Errorf("one that ends at once: %s, %q", v.ended, v.said)
	}
	if v := judge(t, func(t testing.TB) { Start(t, "", "/nowhere/daemon") }); v.ended != "fatal" {
		t.Errorf("one that is not there: %q", v.said)
	}
}

// running says whether a process runs: one that was killed may wait for a parent that takes no notice.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestOutputKeepsTheFirstMiB(t *testing.T) {
	var o output
	line := []byte(strings.Repeat("x", 1<<19))
	for range 100 {
		if n, err := o.Write(line); n != len(line) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	if n := len(o.String()); n != 1<<20 {
		t.Errorf("it keeps %d octets", n)
	}
}
