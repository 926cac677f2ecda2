package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// story logs two messages: one from eve, whose delivery fails with a reply that would clear a terminal, and another one
// of the same session. It returns the ids.
func story(t *testing.T, l *maillog.Log) (bad, other mta.ID) {
	t.Helper()
	at := func(s string) mta.Address {
		a, err := mta.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	bad, other = mta.NewID(time.Now()), mta.NewID(time.Now())
	s := maillog.SMTPSession{ID: "sessionone1234", Client: "192.0.2.1:4711", Helo: "h", Listener: ":25"}
	l.SMTPConnected(s)
	l.SMTPRejected(s, "rcpt", "", "<eve@away.test>", "<nobody@here.test>", mta.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user"})
	for _, id := range []mta.ID{bad, other} {
		from := "eve@away.test"
		if id == other {
			from = "zoe@away.test"
		}
		l.SMTPAccepted(s, &mta.Envelope{ID: id, Sender: at(from), Rcpts: []mta.Recipient{{Address: at("bob@here.test")}}}, "ESMTP")
	}
	l.SMTPClosed(s, "")
	l.QueueFailed(bad, at("bob@here.test"), mta.Outcome{Status: mta.Failed, Host: "mx", Text: "no\x1b[2J\x1b]0;owned\a\u202e"})
	l.QueueReported(bad.Child('F', 0), bad, at("eve@away.test"), 1, 0, 0)
	l.QueueFinished(bad)
	l.QueueDelivered(bad.Child('F', 0), at("eve@away.test"), "mx.away.test", mta.Outcome{Status: mta.Delivered}, time.Second)
	l.QueueDelivered(other, at("bob@here.test"), "local", mta.Outcome{Status: mta.Delivered}, time.Second)
	return bad, other
}

func trace(t *testing.T, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(context.Background(), append([]string{"trace"}, args...), strings.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

func TestTraceTellsAMessageToTheEndOfItsReport(t *testing.T) {
	dir := t.TempDir()
	for name, handler := range map[string]func(b *bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return maillog.NewText(b, slog.LevelDebug) },
		"json": func(b *bytes.Buffer) slog.Handler { return maillog.NewJSON(b, slog.LevelDebug) },
	} {
		var log bytes.Buffer
		log.WriteString("a line of somebody else\n" + strings.Repeat("x", maxLogLine+10) + "\n{\"time\":3}\n")
		bad, other := story(t, maillog.New(handler(&log)))
		plain, packed := filepath.Join(dir, name), filepath.Join(dir, name+".gz")
		writeFile(t, plain, log.String())
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(log.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		writeFile(t, packed, z.String())
		for _, from := range []string{plain, packed, "-"} {
			for _, id := range []mta.ID{bad, bad.Child('F', 0)} {
				code, out, errOut := trace(t, log.String(), string(id), "--log", from)
				if code != 0 {
					t.Fatalf("%s, %s: got %d, %s", name, from, code, errOut)
				}
				last := -1
				for _, want := range []string{"from 192.0.2.1:4711", "at rcpt from <eve@away.test> to <nobody@here.test>", "from <eve@away.test>, 1 recipients", "<bob@here.test> by mx: 550 no?[2J?]0;owned??",
					"about " + string(bad) + ": 1 failed", "nothing is left to do", "<eve@away.test> by mx.away.test, after 1s"} {
					i := strings.Index(out, want)
					if i <= last {
						t.Errorf("%s, %s: no %q in its place in\n%s", name, from, want, out)
					}
					last = i
				}
				if strings.ContainsAny(out, "\x1b\a\u202e") || strings.Contains(out, string(other)) {
					t.Errorf("%s, %s: got control characters, or another message, in\n%q", name, from, out)
				}
			}
		}
		code, out, _ := trace(t, "", "EVE@away.test", "--log", plain)
		if code != 0 || strings.Contains(out, "zoe") || strings.Count(out, "\n") != 9 {
			t.Errorf("%s, by address: got %d\n%s", name, code, out)
		}
		code, out, _ = trace(t, "", string(bad), "--log", packed, "--json")
		for line := range strings.Lines(out) {
			var m map[string]string
			if err := json.Unmarshal([]byte(line), &m); err != nil || m["event"] == "" || m["time"] == "" {
				t.Errorf("%s: got %q, %v", name, line, err)
			}
		}
		if code != 0 || !strings.Contains(out, `"delay":"1s"`) {
			t.Errorf("%s, json: got %d\n%s", name, code, out)
		}
	}
}

func TestTraceSaysWhatItCannotSee(t *testing.T) {
	var log bytes.Buffer
	l := maillog.New(maillog.NewText(&log, slog.LevelInfo))
	old := mta.NewID(time.Now().Add(-time.Hour))
	to, err := mta.ParseAddress("bob@here.test")
	if err != nil {
		t.Fatal(err)
	}
	l.QueueDelivered(old, to, "local", mta.Outcome{Status: mta.Delivered}, time.Hour)
	path := filepath.Join(t.TempDir(), "log")
	writeFile(t, path, log.String())
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{string(old), "--log", path}, 0, "what was before is missing", ""},
		{[]string{string(old), "--log", path}, 0, "it is not finished", ""},
		{[]string{string(mta.NewID(time.Now().Add(-2 * time.Hour))), "--log", path}, 66, "", "the message came in before that"},
		{[]string{"x@y.test", "--log", path}, 66, "", "nothing in"},
		{[]string{"x@y.test", "--log", path + ".none"}, exitIO, "", "no such file"},
		{[]string{"nonsense", "--log", path}, 64, "", "neither an address nor"},
		{[]string{"x@y.test", "--since", "last week"}, 64, "", "--since"},
		{[]string{string(old), "--log", path, "--since", "0"}, 66, "", "nothing in"},
	} {
		code, out, errOut := trace(t, "", c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.err) {
			t.Errorf("%q: got %d, %q, %q; want %d, %q, %q", c.args, code, out, errOut, c.code, c.out, c.err)
		}
	}
}

// TestTraceAsksTheJournalForTheFamily has a journalctl of its own, which shows how it was called and answers as the real
// one does.
func TestTraceTakesTimesAsTheyAreSaid(t *testing.T) {
	now := time.Date(2026, 3, 1, 13, 30, 0, 0, time.Local)
	for s, want := range map[string]time.Time{
		"":                     {},
		"2h":                   now.Add(-2 * time.Hour),
		"today":                time.Date(2026, 3, 1, 0, 0, 0, 0, time.Local),
		"yesterday":            time.Date(2026, 2, 28, 0, 0, 0, 0, time.Local),
		"2026-02-03":           time.Date(2026, 2, 3, 0, 0, 0, 0, time.Local),
		"2026-02-03 10:00":     time.Date(2026, 2, 3, 10, 0, 0, 0, time.Local),
		"2026-02-03T10:00:00Z": time.Date(2026, 2, 3, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := parseSince(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"tomorrow", "Yesterday ", "2026-02-30", "10:00", "-"} {
		if got, err := parseSince(s, now); err == nil {
			t.Errorf("%q: got %v, want a fault", s, got)
		}
	}
}

func TestTraceAsksTheJournalForTheFamily(t *testing.T) {
	dir := t.TempDir()
	id := mta.NewID(time.Now())
	entry := func(event, fields string) string {
		return fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"%d","PRIORITY":"6","POSTHOUSE_EVENT":"%s",%s}`, time.Now().UnixMicro(), event, fields)
	}
	writeFile(t, filepath.Join(dir, "out"), strings.Join([]string{
		entry("accepted", fmt.Sprintf(`"QUEUE_ID":"%s","SESSION_ID":"abc","FROM":"<a@b.test>","RCPT_COUNT":"1"`, id)),
		entry("expanded", fmt.Sprintf(`"QUEUE_ID":"%s","CHILD_ID":"%sX0","TO":"<all@b.test>"`, id, id)),
		entry("failed", fmt.Sprintf(`"QUEUE_ID":"%s","TO":"<x@b.test>","REPLY":[27,91,50,74]`, id)),
		entry("finished", fmt.Sprintf(`"QUEUE_ID":"%s"`, id)),
	}, "\n"))
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%[1]s/calls\n/bin/cat %[1]s/out\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	code, out, errOut := trace(t, "", string(id))
	if code != 0 || strings.Contains(out, "\x1b") || !strings.Contains(out, "<x@b.test>: ?[2J") {
		t.Errorf("got %d\n%q\n%s", code, out, errOut)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--output=json", "QUEUE_ID=" + string(id) + "X0", "+ PARENT_ID=" + string(id), "SESSION_ID=abc"} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("journalctl was not asked for %s:\n%s", want, calls)
		}
	}
	writeFile(t, filepath.Join(dir, "journalctl"), "#!/bin/sh\necho 'no journal files' >&2\nexit 1\n")
	if code, _, errOut := trace(t, "", string(id)); code == 0 || !strings.Contains(errOut, "no journal files") {
		t.Errorf("a journalctl that fails: got %d %q", code, errOut)
	}
}

func TestTraceMergesTheLogsOfSeveralDaemons(t *testing.T) {
	dir := t.TempDir()
	id := mta.NewID(time.Now())
	line := func(at int, event string) string {
		return fmt.Sprintf("time=2126-11-28T10:00:%02dZ level=info event=%s id=%s to=<Bob@HERE.test>\n", at, event, id)
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	writeFile(t, a, line(2, "deferred")+line(4, "delivered"))
	writeFile(t, b, line(1, "accepted")+line(3, "ordered")+line(5, "finished"))
	for _, what := range []string{string(id), "bob@here.test"} {
		_, out, errOut := trace(t, "", what, "--log", a, "--log", b)
		var events []string
		for l := range strings.Lines(out) {
			if f := strings.Fields(l); len(f) > 3 && f[0] != "note:" {
				events = append(events, f[3])
			}
		}
		if got := strings.Join(events, " "); got != "accepted deferred ordered delivered finished" {
			t.Errorf("%s: got %s in this order: %s", what, got, errOut)
		}
	}
}

func FuzzLogLine(f *testing.F) {
	for _, s := range []string{
		`time=2026-11-28T10:00:00.000Z level=info event=failed id=X reply="550 \x1b[2J"`, `{"time":"2026-11-28T10:00:00Z","level":"info","event":"x","delay":5}`,
		`time=`, `{"time":`, `time=x event="`, "time=2026-11-28T10:00:00Z event=a b",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r := parseLine(line)
		if r == nil {
			return
		}
		if r.event == "" || r.time.IsZero() {
			t.Errorf("%q: got an event without name or time", line)
		}
		for _, c := range printable(r.words()) {
			if c < ' ' || c == 0x7f {
				t.Errorf("%q: got %q for a terminal", line, r.words())
			}
		}
	})
}
