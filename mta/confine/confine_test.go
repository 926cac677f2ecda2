package confine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/confine"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const folderVariable = "CONFINE_TEST_FOLDER"

// TestConfined is no test of its own: it is what TestWhatAConfinedProcessCanDo starts.
func TestConfined(t *testing.T) {
	dir := os.Getenv(folderVariable)
	if dir == "" {
		t.Skip("only TestWhatAConfinedProcessCanDo runs this")
	}
	conn, err := net.Dial("tcp", os.Getenv("CONFINE_TEST_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	// Threads that are there before: what is taken must be taken from all of them.
	var threads sync.WaitGroup
	work := make(chan func())
	for range 8 {
		threads.Go(func() {
			runtime.LockOSThread()
			for f := range work {
				f()
			}
		})
	}
	if err := confine.Process([]string{dir + "/read", dir + "/gone"}, []string{dir + "/write", dir + "/gone"}); err != nil {
		fmt.Println("not in force:", err)
	}
	say := func(what string, err error) { fmt.Printf("%s: %v\n", what, errors.Is(err, os.ErrPermission)) }
	open := func(path string, flags int) error {
		f, err := os.OpenFile(path, flags, 0o600)
		if err == nil {
			f.Close()
		}
		return err
	}
	for range 8 {
		done := make(chan bool)
		work <- func() {
			defer close(done)
			say("read what is not named", open("/etc/passwd", os.O_RDONLY))
			say("write where only reading is granted", open(dir+"/read/file", os.O_WRONLY))
			say("make a file beside", open(dir+"/other", os.O_CREATE|os.O_WRONLY))
			say("exec", unix.Exec("/bin/true", []string{"true"}, nil))
			_, _, e := unix.RawSyscall(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0)
			say("ptrace", e)
			_, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			say("socket", err)
			_, _, e = unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
			say("io_uring", e)
		}
		<-done
	}
	say("fork", exec.Command("/bin/true").Run())
	_, err = net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	say("dial", err)
	_, err = new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	say("listen", err)
	say("signal to another process", syscall.Kill(os.Getppid(), 0))
	if err := errors.Join(open(dir+"/read/file", os.O_RDONLY), open(dir+"/write/tmp/a", os.O_CREATE|os.O_WRONLY),
		os.Rename(dir+"/write/tmp/a", dir+"/write/new/a"), os.Link(dir+"/write/new/a", dir+"/write/cur/b"), os.Remove(dir+"/write/new/a"),
		os.Mkdir(dir+"/write/.Sent", 0o700), os.Remove(dir+"/write/.Sent")); err != nil {
		t.Errorf("in what is left: %v", err)
	}
	threads.Go(func() { runtime.LockOSThread(); time.Sleep(0) }) // a thread can be made
	close(work)
	threads.Wait()
	if _, err := conn.Write([]byte("open as before")); err != nil {
		t.Errorf("on the connection: %v", err)
	}
}

func TestWhatAConfinedProcessCanDo(t *testing.T) {
	mtatest.NeedLandlock(t)
	dir := t.TempDir()
	for _, d := range []string{"read", "write/tmp", "write/new", "write/cur"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "read/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a process that may be traced is stopped by that
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestConfined$")
	cmd.Env = []string{folderVariable + "=" + dir, "CONFINE_TEST_ADDRESS=" + ln.Addr().String(), "TMPDIR=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]int{}
	for line := range strings.Lines(string(out)) {
		got[strings.TrimSpace(line)]++
	}
	for what, times := range map[string]int{
		"read what is not named": 8, "write where only reading is granted": 8, "make a file beside": 8, "exec": 8, "ptrace": 8, "socket": 8, "io_uring": 8,
		"fork": 1, "dial": 1, "listen": 1, "signal to another process": 1,
	} {
		if n := got[what+": true"]; n != times {
			t.Errorf("%s: refused %d times of %d", what, n, times)
		}
	}
	if t.Failed() || strings.Contains(string(out), "not in force") {
		t.Errorf("it said\n%s", out)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 14)
	if _, err := c.Read(b); err != nil || string(b) != "open as before" {
		t.Errorf("got %q, %v", b, err)
	}
}
