package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// export is a handler that writes what journald would keep, in the journal's export format.
type export struct{ bytes.Buffer }

func (e *export) Enabled(context.Context, slog.Level) bool { return true }
func (e *export) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *export) WithGroup(string) slog.Handler            { return e }
func (e *export) Handle(_ context.Context, r slog.Record) error {
	fmt.Fprintf(e, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=0123456789abcdef0123456789abcdef\nPRIORITY=6\n", r.Time.UnixMicro(), r.Time.UnixMicro()%1e9)
	r.Attrs(func(a slog.Attr) bool {
		e.WriteString(a.Key + "\n")
		_ = binary.Write(e, binary.LittleEndian, uint64(len(a.Value.String())))
		e.WriteString(a.Value.String() + "\n")
		return true
	})
	e.WriteString("\n")
	return nil
}

func TestTraceReadsARealJournal(t *testing.T) {
	writer := "/usr/lib/systemd/systemd-journal-remote"
	if _, err := os.Stat(writer); err != nil {
		writer = "/lib/systemd/systemd-journal-remote"
	}
	_, err := os.Stat(writer)
	if _, noReader := exec.LookPath("journalctl"); err != nil || noReader != nil {
		mtatest.Lacking(t, "no journalctl, or no systemd-journal-remote: Debian's packages are systemd and systemd-journal-remote")
	}
	var e export
	bad, other := story(t, maillog.New(maillog.NewJournal(&e)))
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), writer, "-o", filepath.Join(dir, "system.journal"), "-")
	cmd.Stdin = &e.Buffer
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, what := range []string{string(bad), string(bad.Child('F', 0)), "eve@away.test"} {
		code, out, errOut := trace(t, "", what, "--log", dir)
		if code != 0 || strings.Contains(out, string(other)) || strings.ContainsAny(out, "\x1b\a") {
			t.Errorf("%s: got %d, %s\n%q", what, code, errOut, out)
		}
		last := -1
		for _, want := range []string{"from 192.0.2.1:4711", "from <eve@away.test>, 1 recipients", "<bob@here.test> by mx: 550 no?[2J", "about " + string(bad), "nothing is left to do", "by mx.away.test, after 1s"} {
			i := strings.Index(out, want)
			if i <= last {
				t.Errorf("%s: no %q in its place in\n%s", what, want, out)
			}
			last = i
		}
	}
}
