package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse-mail/posthouse/mta/config"
)

func take(t *testing.T, dir string) *instance {
	t.Helper()
	in, err := newInstance(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.close)
	return in
}

func TestTheConfigurationIsOneThatTheDaemonsTake(t *testing.T) {
	for _, name := range []string{"demo", "two words", `a "quoted" \ one`, "größe", strings.Repeat("long", 30)} {
		in := take(t, filepath.Join(t.TempDir(), name))
		if err := in.shortRun(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in.config(), []byte(in.configText()), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Read(in.config())
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got, want := c.Spool.Path, in.path("spool"); got != want {
			t.Errorf("spool.path: got %q, want %q", got, want)
		}
		if len(c.Warnings()) > 0 {
			t.Errorf("%q: warnings %q, want none", name, c.Warnings())
		}
		if got, want := len(c.SMTPD.Listen)+len(c.POP3D.Listen), len(listeners)+1; got != want {
			t.Errorf("got %d listeners, want %d", got, want)
		}
	}
}

func TestFoldersThatADemoMustNotTake(t *testing.T) {
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(t.TempDir(), "demo")
	take(t, held)
	for _, row := range []struct{ dir, want string }{
		{foreign, "holds files that no demo has made"},
		{held, "a demo still runs in " + held + ": posthouse-demo as process "},
		{filepath.Join(t.TempDir(), "a{local}"), `its path has '{' in it`},
		{filepath.Join(t.TempDir(), "a\nb"), `its path has '\n' in it`},
		{filepath.Join(t.TempDir(), "a\xff"), "which the configuration cannot hold"},
		{filepath.Join(t.TempDir(), "no", "parent"), "no such file or directory"},
	} {
		in, err := newInstance(row.dir, "")
		if err == nil {
			in.close()
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q: got %v, want %q", row.dir, err, row.want)
		}
	}
}

func TestAFolderCanBeTakenAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	for range 2 {
		in, err := newInstance(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		in.close()
	}
}

func TestEveryPortInUseIsNamedWithItsKey(t *testing.T) {
	var all []listener
	for _, table := range []string{"smtpd.listen", "pop3d.listen"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		all = append(all, listener{table: table, address: ln.Addr().String()})
	}
	all = append(all, listener{table: "smtpd.listen", role: "mx", address: "127.0.0.1:0"})
	err := portsFree(all)
	if err == nil {
		t.Fatal("got no error, want two ports in use")
	}
	for _, l := range all[:2] {
		if want := l.address + " is in use"; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "[["+l.table+"]]") {
			t.Errorf("got %v, want %q and the key [[%s]]", err, want, l.table)
		}
	}
	if err := portsFree(all[2:]); err != nil {
		t.Errorf("a port that is free: got %v", err)
	}
}

func TestTraceFieldsAreCutFromTheFront(t *testing.T) {
	const head = "From: a\r\nReceived: in the middle\r\n\r\nbody\r\n"
	for _, row := range []struct{ message, trace string }{
		{"", ""},
		{"Received: no line end", ""},
		{"Receivedx: a\r\n" + head, ""},
		{" continued: nothing\r\n" + head, ""},
		{"\r\nReceived: in the body\r\n", ""},
		{head, ""},
		{"Received: a\r\n\tb\r\n c\r\n" + head, "Received: a\r\n\tb\r\n c\r\n"},
		{"Return-Path: <>\r\nDelivered-To: b\r\nRECEIVED: a\r\n" + head, "Return-Path: <>\r\nDelivered-To: b\r\nRECEIVED: a\r\n"},
	} {
		trace, rest := cutTrace([]byte(row.message))
		if string(trace) != row.trace || string(trace)+string(rest) != row.message {
			t.Errorf("%q: got trace %q and rest %q, want trace %q", row.message, trace, rest, row.trace)
		}
	}
}

func TestADifferenceIsFound(t *testing.T) {
	sent := letter(time.Unix(0, 0))
	if err := same(sent, bytes.Clone(sent)); err != nil {
		t.Errorf("the same: got %v", err)
	}
	changed := bytes.Clone(sent)
	changed[100] ^= 1
	for _, got := range [][]byte{nil, sent[:len(sent)-1], append(bytes.Clone(sent), '\n'), changed, bytes.ReplaceAll(sent, []byte("\r\n"), []byte("\n"))} {
		if same(sent, got) == nil {
			t.Errorf("got no error for %d octets that are not the %d sent", len(got), len(sent))
		}
	}
}

func TestLogLinesAreTakenApart(t *testing.T) {
	for _, row := range []struct {
		line string
		want map[string]string
	}{
		{"", map[string]string{}},
		{"panic: no fields here", map[string]string{}},
		{`a="never ends`, map[string]string{"a": `"never`}},
		{`x y a=1 ="2"`, map[string]string{"a": "1"}},
		{`event=accepted id=1K text="event=\"ready\" id=2" to=<b@x>`, map[string]string{"event": "accepted", "id": "1K", "text": `event="ready" id=2`, "to": "<b@x>"}},
	} {
		if diff := cmp.Diff(row.want, parseLine(row.line)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", row.line, diff)
		}
	}
}

func TestAWaitEndsWithItsEventOrTheReason(t *testing.T) {
	j := newJournal()
	got := make(chan string)
	go func() {
		e, err := j.wait(t.Context(), func(e event) bool { return e.fields["event"] == "ready" })
		if err != nil {
			e.program = err.Error()
		}
		got <- e.program
	}()
	for range 3 * kept { // more than is kept
		j.add("a", "event=other")
	}
	j.add("b", "event=ready")
	if name := <-got; name != "b" {
		t.Errorf("got %q, want the event of b", name)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("smtpd has ended")
	cancel(reason)
	if _, err := j.wait(ctx, func(event) bool { return false }); !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

func TestTheLastLinesOfADaemonAreItsOwn(t *testing.T) {
	j := newJournal()
	for _, line := range []string{"1", "2", "3"} {
		j.add("a", line)
		j.add("b", "no")
	}
	if got, want := j.last("a", 2), "  2\n  3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := j.last("c", 2), "  (none)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
