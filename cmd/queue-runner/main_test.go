package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// instance writes a configuration and returns its path.
func instance(t *testing.T, dir, more string) string {
	t.Helper()
	mtatest.Write(t, filepath.Join(dir, "users"), "alice@example.org {PLAIN}secret\nbob@example.org {PLAIN}secret\n")
	path := filepath.Join(dir, "posthouse.toml")
	mtatest.Write(t, path, fmt.Sprintf(`hostname = "mail.example.org"
state = "%[1]s/state"
run = "%[1]s/run"
[log]
format = "text"
[spool]
path = "%[1]s/spool"
[domains."example.org"]
[users]
file = "%[1]s/users"
[mailboxes]
path = "%[1]s/mail/{domain}/{local}"
[outbound]
resolver = ["127.0.0.1:1"]
%[2]s`, dir, more))
	return path
}

// send puts a message into the spool, as smtpd would.
func send(t *testing.T, w *spool.Writer, to ...string) mta.ID {
	t.Helper()
	e := &mta.Envelope{Role: mta.RoleMX}
	for _, s := range append([]string{"alice@example.org"}, to...) {
		a, err := mta.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		if e.Sender.IsNull() {
			e.Sender = a
		} else {
			e.Rcpts = append(e.Rcpts, mta.Recipient{Address: a})
		}
	}
	in := w.Begin()
	if _, err := io.WriteString(in, "Subject: x\r\n\r\ntext\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(e); err != nil {
		t.Fatal(err)
	}
	return in.ID()
}

func TestTheProgramDeliversReloadsAndStops(t *testing.T) {
	bin, dir := filepath.Join(mtatest.Build(t, "."), "queue-runner"), t.TempDir()
	config := instance(t, dir, "")
	p := mtatest.Start(t, bin, "-c", config)
	p.Await(t, "event=ready")

	second := exec.CommandContext(t.Context(), bin, "-c", config)
	var exit *exec.ExitError
	if out, err := second.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 75 || !strings.Contains(string(out), "another queue-runner has the spool") {
		t.Errorf("a second one: got %v\n%swant status 75", err, out)
	}

	boot, err := spool.BootID()
	if err != nil {
		t.Fatal(err)
	}
	trigger := spool.NewTrigger(filepath.Join(dir, "spool"))
	defer trigger.Close()
	w := spool.OpenWriter(durable.OS{}, filepath.Join(dir, "spool"), spool.WriterOptions{Boot: boot, Notify: trigger.Poke})
	id := string(send(t, w, "bob@example.org", "nobody@example.org", "x@far.example"))
	p.Await(t, "event=delivered.*id="+id+".*to=<bob@example.org>.*by=local")
	p.Await(t, "event=failed.*id="+id+".*to=<nobody@example.org>.*5.1.1")
	p.Await(t, "event=deferred.*id="+id+".*to=<x@far.example>.*tries=1")
	p.Await(t, "event=delivered.*id="+id+"F1.*to=<alice@example.org>")
	for user, want := range map[string]string{"bob": "Return-Path: <alice@example.org>\nDelivered-To: bob@example.org\nSubject: x\n\ntext\n", "alice": "Return-Path: <>\n"} {
		files, err := filepath.Glob(filepath.Join(dir, "mail/example.org", user, "new/*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s has %v, %v; want one message", user, files, err)
		}
		if b, err := os.ReadFile(files[0]); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s got %q, %v; want %q", user, b, err, want)
		}
	}

	instance(t, dir, "[[route]]\ndomain = \"far.example\"\nto = \"discard\"\n")
	p.Signal(t, syscall.SIGHUP)
	p.Await(t, "event=reloaded")
	id = string(send(t, w, "y@far.example"))
	p.Await(t, "event=delivered.*id="+id+".*by=discard")
	p.Await(t, "event=finished.*id="+id)
	instance(t, dir, "[queue]\nretry_first = \"never\"\n")
	p.Signal(t, syscall.SIGHUP)
	p.Await(t, "event=reload-failed")

	w.Close()
	p.Terminate(t)
	p.Await(t, "event=stopped")
	r, err := spool.Check(durable.OS{}, filepath.Join(dir, "spool"))
	if err != nil || len(r.Problems) > 0 {
		t.Errorf("check: %v, %q", err, r.Problems)
	}
}

func TestEveryEventIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("queue-runner.8")
	if err != nil {
		t.Fatal(err)
	}
	event := regexp.MustCompile(`l\.event\([^,]+, "([a-z-]+)"`)
	for _, file := range []string{"queue.go", "spool.go", "transport.go"} {
		b, err := os.ReadFile(filepath.Join("../../mta/maillog", file))
		if err != nil {
			t.Fatal(err)
		}
		found := event.FindAllSubmatch(b, -1)
		if len(found) == 0 {
			t.Errorf("%s: no events found", file)
		}
		for _, m := range found {
			if !strings.Contains(string(page), ".It Li "+string(m[1])+"\n") {
				t.Errorf("%s: event %s is not in queue-runner.8", file, m[1])
			}
		}
	}
}
