package idle_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// BenchmarkIdle says what an idle connection costs smtpd: the real program, resident memory, measured once all
// connections have said EHLO and gone quiet. Run it with -benchtime 1x.
func BenchmarkIdle(b *testing.B) {
	b.Run("plain-10000", func(b *testing.B) { idle(b, 10_000, false) })
	b.Run("tls-2000", func(b *testing.B) { idle(b, 2_000, true) })
}

// BenchmarkInData says what a session costs that has sent 200 KB of its message and waits.
func BenchmarkInData(b *testing.B) {
	b.Run("2000", func(b *testing.B) { inData(b, 2_000) })
}

func idle(b *testing.B, n int, secure bool) {
	for b.Loop() {
		s := startSMTPD(b)
		before := s.resident(b)
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = s.connect(b, i, secure)
		}
		b.ReportMetric(float64(s.resident(b)-before)/float64(n)/1024, "KiB/conn")
		s.stop(b, conns)
	}
}

func inData(b *testing.B, n int) {
	content := []byte(strings.Repeat(strings.Repeat("x", 98)+"\r\n", 2000))
	for b.Loop() {
		s := startSMTPD(b)
		before := s.resident(b)
		conns := make([]net.Conn, n)
		for i := range conns {
			c := s.connect(b, i, false)
			br := bufio.NewReader(c)
			for _, step := range [][2]string{{"MAIL FROM:<a@away.test>", "250 "}, {"RCPT TO:<bob@here.test>", "250 "}, {"DATA", "354 "}} {
				say(b, c, br, step[0], step[1])
			}
			if _, err := c.Write(content); err != nil {
				b.Fatal(err)
			}
			conns[i] = c
		}
		s.settled(b)
		b.ReportMetric(float64(s.resident(b)-before)/float64(n)/1024, "KiB/conn")
		s.stop(b, conns)
	}
}

// server is a running smtpd.
type server struct {
	cmd   *exec.Cmd
	addr  string
	certs *mtatest.Certs
}

func startSMTPD(b *testing.B) *server {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	dir := b.TempDir()
	bin := filepath.Join(dir, "smtpd")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", bin, "../../../cmd/smtpd").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	s := &server{certs: mtatest.NewCerts(b, "mx.here.test")}
	conf := filepath.Join(dir, "posthouse.toml")
	text := fmt.Sprintf(`hostname = "mx.here.test"
state = "%[1]s/state"
run = "%[1]s/run"
spool.path = "%[1]s/spool"
users.file = "%[1]s/users"
log.level = "warn"
outbound.resolver = ["127.0.0.1:1"]
[tls]
certificate = %[2]q
key = %[3]q
[domains."here.test"]
[smtpd]
max_connections = 20000
max_per_client = 20000
require_sender_domain = false
reserve_disk = "0"
[[smtpd.listen]]
address = "127.0.0.1:0"
role = "mx"
`, dir, s.certs.CertFile, s.certs.KeyFile)
	for path, text := range map[string]string{conf: strings.Replace(text, "warn", "info", 1), filepath.Join(dir, "users"): "bob@here.test {PLAIN}x\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	s.cmd = exec.Command(bin, "-c", conf)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	listening := regexp.MustCompile(`event=listening address=(127\S+)`)
	for log := bufio.NewScanner(stderr); log.Scan(); {
		if m := listening.FindStringSubmatch(log.Text()); m != nil {
			s.addr = m[1]
		}
		if strings.Contains(log.Text(), "event=ready") {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return s
		}
	}
	b.Fatal("smtpd does not start")
	return nil
}

// connect opens connection i and says EHLO.
func (s *server) connect(b *testing.B, i int, secure bool) net.Conn {
	b.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
	c, err := from.Dial("tcp", s.addr)
	if err != nil {
		b.Fatal(err)
	}
	br := bufio.NewReaderSize(c, 512)
	say(b, c, br, "", "220 ")
	say(b, c, br, "EHLO c.test", "250 ")
	if !secure {
		return c
	}
	say(b, c, br, "STARTTLS", "220 ")
	over := tls.Client(c, s.certs.Client("mx.here.test"))
	if err := over.Handshake(); err != nil {
		b.Fatal(err)
	}
	say(b, over, bufio.NewReaderSize(over, 512), "EHLO c.test", "250 ")
	return over
}

// say sends a line and reads to the end of the reply.
func say(b *testing.B, c net.Conn, br *bufio.Reader, line, want string) {
	b.Helper()
	if line != "" {
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			b.Fatal(err)
		}
	}
	for {
		got, err := br.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasPrefix(got, want) {
			return
		}
		if len(got) < 4 || got[3] != '-' {
			b.Fatalf("got %q, want %q", got, want)
		}
	}
}

// resident is the memory of the program that is in RAM, in octets.
func (s *server) resident(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		b.Fatalf("no VmRSS in\n%s", text)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n * 1024
}

// settled waits until the program has read what was sent to it: until its memory no longer grows.
func (s *server) settled(b *testing.B) {
	b.Helper()
	last := int64(-1)
	for {
		now := s.resident(b)
		if now == last {
			return
		}
		last = now
		time.Sleep(500 * time.Millisecond)
	}
}

func (s *server) stop(b *testing.B, conns []net.Conn) {
	b.StopTimer()
	defer b.StartTimer()
	for _, c := range conns {
		_ = c.Close()
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}
