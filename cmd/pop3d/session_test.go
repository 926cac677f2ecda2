package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// TestASessionGivesUpWhatItDoesNotNeed runs pop3d --session as as-user does, where the tests run as root as a user of its own.
func TestASessionGivesUpWhatItDoesNotNeed(t *testing.T) {
	mtatest.NeedLandlock(t)
	home, err := os.MkdirTemp("", "session") // the user must get through to it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	if err := mtatest.BuildInto(home, "."); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(home, "pop3d")
	for _, d := range []string{"Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"} {
		if err := os.Mkdir(filepath.Join(home, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "Maildir/new/1"), []byte("Subject: one\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--session")
	cmd.Env = []string{"HOME=" + home}
	if os.Geteuid() == 0 {
		const uid = 20001
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := filepath.Walk(home, func(path string, _ os.FileInfo, err error) error { return os.Chown(path, uid, uid) }); err != nil {
			t.Fatal(err)
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "mine"), os.NewFile(uintptr(fds[1]), "theirs")
	defer mine.Close()
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	hand, err := json.Marshal(map[string]any{"session": "S", "identity": "alice@example.org", "mailbox": "~/Maildir", "idle": mtatest.Patience, "drain": time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(mine, "%s\n", hand); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(mine)
	answer, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(answer, `{"messages":1,`) || strings.Contains(answer, "unconfined") {
		t.Errorf("got %q, %v; want a message, and nothing unconfined", answer, err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("got %d threads, %v", len(threads), err)
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err == nil && (!strings.Contains(string(status), "\nSeccomp:\t2\n") || !strings.Contains(string(status), "\nNoNewPrivs:\t1\n")) {
			t.Errorf("%s is not confined:\n%s", path, status)
		}
	}
	if _, err := io.WriteString(mine, "RETR 1\r\nDELE 1\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(in)
	if err != nil || strings.Count(string(said), "+OK") != 3 || !strings.Contains(string(said), "Subject: one\r\n\r\nx\r\n.\r\n") {
		t.Errorf("got %q, %v", said, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(home, "Maildir/[nc]*/1*")); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v; want the message gone", left, err)
	}
}
