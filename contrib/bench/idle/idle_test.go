package idle_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
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
			if err := c.Say("MAIL FROM:<a@away.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\n", "250", "250", "354"); err != nil {
				b.Fatal(err)
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
	*mtatest.Program
	addr  string
	certs *mtatest.Certs
}

func startSMTPD(b *testing.B) *server {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	dir := b.TempDir()
	s := &server{certs: mtatest.NewCerts(b, "mx.here.test")}
	conf := filepath.Join(dir, "posthouse.toml")
	text := fmt.Sprintf(`hostname = "mx.here.test"
state = "%[1]s/state"
run = "%[1]s/run"
spool.path = "%[1]s/spool"
users.file = "%[1]s/users"
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
	mtatest.Write(b, conf, text)
	mtatest.Write(b, filepath.Join(dir, "users"), "bob@here.test {PLAIN}x\n")
	s.Program = mtatest.Start(b, filepath.Join(mtatest.Build(b, "../../../cmd/smtpd"), "smtpd"), "-c", conf)
	s.addr = s.Await(b, `event=listening address=(127\S+)`)[1]
	s.Await(b, "event=ready")
	return s
}

// connect opens connection i and says EHLO.
func (s *server) connect(b *testing.B, i int, secure bool) *mtatest.Session {
	b.Helper()
	var over *tls.Config
	if secure {
		over = s.certs.Client("mx.here.test")
	}
	return mtatest.Dial(b, &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}, s.addr, over)
}

// resident is the memory of the program that is in RAM, in octets.
func (s *server) resident(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID))
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
	s.Kill()
}
