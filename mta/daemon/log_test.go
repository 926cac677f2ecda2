package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAsALogger is the daemon of the test below, in a process of its own with a /run of its own.
func TestAsALogger(t *testing.T) {
	mode := os.Getenv("DAEMON_TEST_JOURNAL")
	if mode == "" {
		t.Skip("only TestWhereTheLogGoes runs this")
	}
	if err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("tmpfs", "/run", "tmpfs", 0, "")); err != nil {
		t.Skipf("no /run of its own: %v", err)
	}
	var journald *net.UnixConn
	if mode == "socket" {
		if err := os.MkdirAll(filepath.Dir(journalSocket), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if journald, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: journalSocket, Net: "unixgram"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stderrIsTheJournal(); err != nil {
		t.Fatal(err)
	}
	start("testd", []string{"-c", os.Getenv("DAEMON_TEST_CONFIG")}, os.Stdout, os.Stderr, func(context.Context, *App) error { return nil })
	if journald == nil {
		return
	}
	if err := journald.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64<<10)
	n, err := journald.Read(b)
	fmt.Printf("journal got %q, %v\n", b[:n], err)
}

// stderrIsTheJournal says in the environment that standard error is the journal's stream.
func stderrIsTheJournal() error {
	var st syscall.Stat_t
	if err := syscall.Fstat(syscall.Stderr, &st); err != nil {
		return err
	}
	return os.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
}

func TestWhereTheLogGoes(t *testing.T) {
	const text, native = "level=info event=started", `journal got "MESSAGE=started program=testd `
	for _, c := range []struct{ name, mode, config, out, err string }{
		{"a stream without the socket takes lines", "none", "", "", text},
		{"the journal's own protocol", "socket", "", native, ""},
		{"text where it is asked for", "none", "[log]\nformat = \"text\"\n", "", text},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, stderr strings.Builder
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestAsALogger$")
			cmd.Env = append(os.Environ(), "DAEMON_TEST_JOURNAL="+c.mode, "DAEMON_TEST_CONFIG="+writeConfig(t, t.TempDir(), c.config))
			cmd.Stdout, cmd.Stderr = &out, &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			err := cmd.Run()
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) || strings.Contains(out.String(), "--- SKIP") {
				t.Skipf("no namespaces here: %v", err)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, &stderr)
			}
			if !strings.Contains(out.String(), c.out) || !strings.Contains(stderr.String(), c.err) || c.err == "" && stderr.Len() > 0 {
				t.Errorf("got output\n%s\nand standard error\n%s\nwant %q and %q", &out, &stderr, c.out, c.err)
			}
		})
	}
}
