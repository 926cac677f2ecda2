package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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

// process is a running smtpd.
type process struct {
	*mtatest.Program
	bin, dir, conf string
	certs          *mtatest.Certs
}

func startDaemon(t *testing.T, more ...string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{bin: filepath.Join(mtatest.Build(t, "."), "smtpd"), dir: dir, conf: filepath.Join(dir, "posthouse.toml"), certs: mtatest.NewCerts(t, "mx.here.test")}
	mtatest.Write(t, p.conf, strings.NewReplacer("DIR", dir, "CERT", p.certs.CertFile, "KEY", p.certs.KeyFile).Replace(configuration+strings.Join(more, "")))
	mtatest.Write(t, filepath.Join(dir, "users"), "alice@here.test {PLAIN}secret\n")
	p.Program = mtatest.Start(t, p.bin, "--config", p.conf)
	return p
}

// restart runs the program anew, once it has ended.
func (p *process) restart(t *testing.T) {
	t.Helper()
	if status := p.Status(t); status != 0 {
		t.Fatalf("got exit status %d, want 0", status)
	}
	p.Program = mtatest.Start(t, p.bin, "--config", p.conf)
}

func TestDaemonTakesMailReloadsAndEnds(t *testing.T) {
	p := startDaemon(t)
	addr := p.Next(t, `event=listening address=(127\.0\.0\.1:\d+)`)[1]
	p.Next(t, "event=ready")
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
	id := p.Next(t, `event=accepted .* id=(\w+) from=<a@away\.test> rcpts=2 size=7 `)[1]
	p.Next(t, "event=recipient id="+id)
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
	mtatest.Write(t, p.conf, strings.Replace(string(text), "mx\"\n", "submission\"\n", 1))
	p.Signal(t, syscall.SIGHUP)
	p.Next(t, "event=config-problem .*sockets.* at a restart only")
	mtatest.Write(t, p.conf, "smtpd.max_recipients = 100\n"+string(text))
	p.Signal(t, syscall.SIGHUP)
	p.Next(t, "event=reloaded")
	p.Terminate(t)
	p.Next(t, "event=stopped")
}
