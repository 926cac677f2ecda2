package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// patience is how long a test waits for what should be there at once, before it fails.
const patience = 2 * time.Minute

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "posthouse-queue-runner")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// instance writes a configuration and returns its path.
func instance(t *testing.T, dir, more string) string {
	t.Helper()
	write(t, filepath.Join(dir, "users"), "alice@example.org {PLAIN}secret\nbob@example.org {PLAIN}secret\n")
	path := filepath.Join(dir, "posthouse.toml")
	write(t, path, fmt.Sprintf(`hostname = "mail.example.org"
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

// program is the daemon and its log.
type program struct {
	cmd   *exec.Cmd
	lines chan string
	seen  []string // lines that nobody has waited for yet
}

func start(t *testing.T, bin, config string) *program {
	t.Helper()
	p := &program{cmd: exec.CommandContext(t.Context(), bin, "-c", config), lines: make(chan string, 1000)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-read
		_ = p.cmd.Wait()
	})
	return p
}

// await returns the first line of the log that has all the texts in it, and that was not returned before: what is done at the
// same time is told in any order.
func (p *program) await(t *testing.T, texts ...string) string {
	t.Helper()
	late := time.After(patience)
	for n := 0; ; n++ {
		for n == len(p.seen) {
			select {
			case line, ok := <-p.lines:
				if !ok {
					t.Fatalf("the program has ended; got log\n%s\nwant %q in it", strings.Join(p.seen, "\n"), texts)
				}
				p.seen = append(p.seen, line)
			case <-late:
				t.Fatalf("got log\n%s\nwant %q in it", strings.Join(p.seen, "\n"), texts)
			}
		}
		if line := p.seen[n]; !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			p.seen = slices.Delete(p.seen, n, n+1)
			return line
		}
	}
}

func (p *program) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
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
	bin, dir := build(t), t.TempDir()
	config := instance(t, dir, "")
	p := start(t, bin, config)
	p.await(t, "event=ready")

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
	p.await(t, "event=delivered", "id="+id, "to=<bob@example.org>", "by=local")
	p.await(t, "event=failed", "id="+id, "to=<nobody@example.org>", "5.1.1")
	p.await(t, "event=deferred", "id="+id, "to=<x@far.example>", "tries=1")
	p.await(t, "event=delivered", "id="+id+"F1", "to=<alice@example.org>")
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
	p.signal(t, syscall.SIGHUP)
	p.await(t, "event=reloaded")
	id = string(send(t, w, "y@far.example"))
	p.await(t, "event=delivered", "id="+id, "by=discard")
	p.await(t, "event=finished", "id="+id)
	instance(t, dir, "[queue]\nretry_first = \"never\"\n")
	p.signal(t, syscall.SIGHUP)
	p.await(t, "event=reload-failed")

	w.Close()
	p.signal(t, syscall.SIGTERM)
	p.await(t, "event=stopped")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("exit: got %v, want status 0", err)
	}
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
