package main_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const configuration = `smtpd.require_sender_domain = false
hostname = "mx.here.test"
state = "DIR/state"
run = "DIR/run"
spool.path = "DIR/spool"
mailboxes.path = "DIR/mail/{domain}/{local}"
users.file = "DIR/users"
outbound.resolver = ["127.0.0.1:1"]
[tls]
certificate = "CERT"
key = "KEY"
[domains."here.test"]
[[smtpd.listen]]
address = "127.0.0.1:0"
role = "mx"
[[smtpd.listen]]
address = "unix:DIR/run/smtpd/submit.sock"
role = "local"
`

// process is a running smtpd whose log the test reads.
type process struct {
	*exec.Cmd
	log   *bufio.Scanner
	dir   string
	conf  string
	certs *mtatest.Certs
}

func startDaemon(t *testing.T, more ...string) *process {
	t.Helper()
	dir := t.TempDir()
	certs := mtatest.NewCerts(t, "mx.here.test")
	bin := filepath.Join(dir, "smtpd")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := strings.NewReplacer("DIR", dir, "CERT", certs.CertFile, "KEY", certs.KeyFile).Replace(configuration + strings.Join(more, ""))
	p := &process{dir: dir, conf: filepath.Join(dir, "posthouse.toml"), certs: certs}
	write(t, p.conf, text)
	write(t, filepath.Join(dir, "users"), "alice@here.test {PLAIN}secret\n")
	p.start(t, bin)
	return p
}

// restart runs the program anew, once it has ended.
func (p *process) restart(t *testing.T) {
	t.Helper()
	bin := p.Path
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	p.start(t, bin)
}

func (p *process) start(t *testing.T, bin string) {
	t.Helper()
	p.Cmd = exec.Command(bin, "--config", p.conf)
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	process := p.Process
	guard := time.AfterFunc(5*time.Minute, func() { _ = process.Kill() }) // an event that never comes ends the test
	t.Cleanup(func() { guard.Stop(); _ = process.Kill() })
	p.log = bufio.NewScanner(stderr)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// event waits for a line of the log.
func (p *process) event(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var seen strings.Builder
	for p.log.Scan() {
		fmt.Fprintln(&seen, p.log.Text())
		if m := re.FindStringSubmatch(p.log.Text()); m != nil {
			return m
		}
	}
	t.Fatalf("no %s in the log:\n%s", pattern, seen.String())
	return nil
}

func TestDaemonTakesMailReloadsAndEnds(t *testing.T) {
	p := startDaemon(t)
	addr := p.event(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.event(t, "event=ready")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, `S: 220 mx.here.test ESMTP Posthouse
C: HELO client.test
S: 250 mx.here.test
C: MAIL FROM:<a@away.test>
S: 250 .*
C: RCPT TO:<nobody@here.test>
S: 550 5.1.1 .*
C: RCPT TO:<x@elsewhere.test>
S: 550 5.7.1 .*
C: RCPT TO:<postmaster>
S: 250 .*
C: RCPT TO:<alice@here.test>
S: 250 .*
C: DATA
S: 354 .*
C: hello
C: .
S: 250 2.0.0 Queued as .*
C: QUIT
S: 221 .*
EOF
`, nil)
	id := p.event(t, `event=accepted .* id=(\w+) from=<a@away\.test> rcpts=2 size=7 `)[1]
	p.event(t, "event=recipient id="+id)
	segments, err := filepath.Glob(filepath.Join(p.dir, "spool/incoming/*.seg"))
	if err != nil || len(segments) != 1 {
		t.Errorf("got segments %q, %v; want one", segments, err)
	}

	nc, err = net.Dial("unix", filepath.Join(p.dir, "run/smtpd/submit.sock"))
	if err != nil {
		t.Fatal(err)
	}
	mtatest.Dialogue(t, nc, "S: 220 .*\nC: HELO localhost\nS: 250 .*\nC: MAIL FROM:<>\nS: 250 .*\nC: RCPT TO:<x@elsewhere.test>\nS: 250 .*\n", nil)

	text, err := os.ReadFile(p.conf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.conf, strings.Replace(string(text), "mx\"\n", "submission\"\n", 1))
	_ = p.Process.Signal(syscall.SIGHUP)
	p.event(t, "event=config-problem .*sockets.* at a restart only")
	write(t, p.conf, "smtpd.max_recipients = 100\n"+string(text))
	_ = p.Process.Signal(syscall.SIGHUP)
	p.event(t, "event=reloaded")
	_ = p.Process.Signal(syscall.SIGTERM)
	p.event(t, "event=stopped")
	if err := p.Wait(); err != nil {
		t.Errorf("got %v, want exit status 0", err)
	}
}
