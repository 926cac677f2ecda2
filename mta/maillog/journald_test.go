package maillog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	slogjournal "github.com/systemd/slog-journal"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// journalSocket is where journald takes its own protocol.
const journalSocket = "/run/systemd/journal/socket"

// inNamespace runs a test again, in a process that has a /run of its own, where it may stand in for journald.
func inNamespace(t *testing.T) (inside bool) {
	t.Helper()
	const mark = "MAILLOG_TEST_NAMESPACE"
	if os.Getenv(mark) != "" {
		if err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("tmpfs", "/run", "tmpfs", 0, "")); err != nil {
			t.Skipf("no /run of its own: %v", err)
		}
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EINVAL), bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("no namespaces here: %v\n%s", err, out)
	case errors.As(err, &ended):
		t.Errorf("%v\n%s", err, out)
	case err != nil:
		t.Fatal(err)
	}
	return false
}

// tee keeps what goes to the next handler.
type tee struct {
	last
	next slog.Handler
	all  []slog.Record
}

func (h *tee) Handle(ctx context.Context, r slog.Record) error {
	h.all = append(h.all, r)
	return h.next.Handle(ctx, r)
}

// entry takes an entry of the journal's native protocol apart: NAME=value LF, or NAME LF, the value's length in eight
// octets, value, LF.
func entry(t *testing.T, b []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		name, value, inline := bytes.Cut(line, []byte("="))
		if !inline && ok && len(rest) > 8 {
			n := binary.LittleEndian.Uint64(rest)
			if rest = rest[8:]; n >= uint64(len(rest)) || rest[n] != '\n' {
				t.Fatalf("got %q, want a value of %d octets and a line end", rest, n)
			}
			value, rest = rest[:n], rest[n+1:]
		} else if !inline || !ok {
			t.Fatalf("got %q, want a field", b)
		}
		if _, twice := fields[string(name)]; twice {
			t.Errorf("the field %s is there twice", name)
		}
		fields[string(name)] = string(value)
		b = rest
	}
	return fields
}

func TestEachEventReachesJournaldWithItsFields(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if err := os.MkdirAll(filepath.Dir(journalSocket), 0o755); err != nil {
		t.Fatal(err)
	}
	journald, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer journald.Close()
	native, err := slogjournal.NewHandler(&slogjournal.Options{Level: slog.LevelDebug})
	if err != nil {
		t.Fatal(err)
	}
	h := &tee{next: maillog.NewJournal(native)}
	each(t, maillog.New(h), func(function string) {
		for _, r := range h.all {
			compare(t, function, r, receive(t, journald))
		}
		h.all = nil
	})
}

// known are names that operators search for; the others are in fields.go.
var known = map[string]string{"id": "QUEUE_ID", "session": "SESSION_ID", "from": "FROM", "to": "TO", "reply": "REPLY", "err": "ERROR"}

// compare holds an entry against the record that it was.
func compare(t *testing.T, function string, r slog.Record, got map[string]string) {
	t.Helper()
	message := got["MESSAGE"]
	if !strings.HasPrefix(message, r.Message+" ") || strings.ContainsFunc(message, func(c rune) bool { return !unicode.IsPrint(c) }) {
		t.Errorf("%s: got the message %q, want one line with the event %s and its fields", function, message, r.Message)
	}
	if got["POSTHOUSE_EVENT"] != r.Message {
		t.Errorf("%s: got the event %q, want %q", function, got["POSTHOUSE_EVENT"], r.Message)
	}
	if want := map[slog.Level]string{slog.LevelDebug: "7", slog.LevelInfo: "6", slog.LevelWarn: "4", slog.LevelError: "3"}[r.Level]; got["PRIORITY"] != want {
		t.Errorf("%s: got priority %q, want %s", function, got["PRIORITY"], want)
	}
	r.Attrs(func(a slog.Attr) bool {
		name := known[a.Key]
		if value, ok := got[name]; name != "" && (!ok || value != a.Value.String()) {
			t.Errorf("%s: got %s %q, want %q", function, name, value, a.Value.String())
		}
		if !strings.Contains(message, " "+a.Key+"=") {
			t.Errorf("%s: got the message %q, want %s in it", function, message, a.Key)
		}
		return true
	})
	// MESSAGE, PRIORITY, SYSLOG_TIMESTAMP, SYSLOG_IDENTIFIER and POSTHOUSE_EVENT stand beside the fields.
	if len(got) != r.NumAttrs()+5 {
		t.Errorf("%s: got %d fields %q, want %d", function, len(got), got, r.NumAttrs()+5)
	}
}

// receive reads an entry.
func receive(t *testing.T, journald *net.UnixConn) map[string]string {
	t.Helper()
	if err := journald.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64<<10)
	n, err := journald.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return entry(t, b[:n])
}

func TestATimeInTheJournalIsThatOfTheLine(t *testing.T) {
	h := &last{}
	l := maillog.New(maillog.NewJournal(h))
	l.CertificateReloaded("/c.pem", time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC))
	var got []string
	h.r.Attrs(func(a slog.Attr) bool {
		got = append(got, a.Key+"="+a.Value.String())
		return true
	})
	if want := "EXPIRES=2026-01-02T03:04:05.006Z"; !slices.Contains(got, want) || !strings.HasSuffix(h.r.Message, "expires=2026-01-02T03:04:05.006Z") {
		t.Errorf("got %q and %q, want %s in both", h.r.Message, got, want)
	}
}
