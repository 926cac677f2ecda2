package accept_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// queue is the spool as smtpd sees it.
type queue struct{ w *spool.Writer }

func (q queue) Begin() (smtpd.Incoming, error) { return q.w.Begin(), nil }

// everybody is a mailbox.
type everybody struct{}

func (everybody) Accept(context.Context, mta.Address) (smtpd.Destination, error) {
	return smtpd.Destination{}, nil
}

func BenchmarkAccept(b *testing.B) {
	certs := mtatest.NewCerts(b, "mx.here.test")
	for _, sessions := range []int{1, 10, 50} {
		for _, size := range []struct {
			name   string
			octets int
		}{{"4KB", 4 << 10}, {"1MB", 1 << 20}} {
			for _, over := range []struct {
				name string
				tls  *tls.Config
			}{{"plain", nil}, {"tls", certs.Client("mx.here.test")}} {
				b.Run(fmt.Sprintf("%d/%s/%s", sessions, size.name, over.name), func(b *testing.B) {
					accept(b, start(b, certs), sessions, content(size.octets), over.tls)
				})
			}
		}
	}
}

// start runs a server until the benchmark ends.
func start(b *testing.B, certs *mtatest.Certs) (addr string) {
	b.Helper()
	root := b.TempDir()
	if err := spool.MakeDirs(durable.OS{}, root); err != nil {
		b.Fatal(err)
	}
	boot, err := spool.BootID()
	if err != nil {
		b.Fatal(err)
	}
	w := spool.OpenWriter(durable.OS{}, root, spool.WriterOptions{Boot: boot})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := smtpd.New(smtpd.Options{
		Hostname: "mx.here.test", Queue: queue{w}, Router: everybody{}, Log: maillog.New(maillog.NewText(io.Discard, slog.LevelInfo)),
		TLS: certs.Server, MaxRecipients: 100, MaxErrors: 10, MaxLine: 64 << 10, MaxHops: 100, MinRate: 1024,
		Idle: 5 * time.Minute, Session: time.Hour, Drain: time.Minute,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, smtpd.Listener{Listener: ln, Name: "bench", Role: mta.RoleMX, MaxMessageSize: 50 << 20})
	}()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		w.Close()
	})
	return ln.Addr().String()
}

func content(octets int) []byte {
	line := strings.Repeat("x", 76) + "\r\n"
	return []byte("Subject: bench\r\n\r\n" + strings.Repeat(line, octets/len(line)) + ".\r\n")
}

// accept sends b.N messages over so many connections, which last.
func accept(b *testing.B, addr string, sessions int, content []byte, over *tls.Config) {
	clients := make([]*client, sessions)
	for i := range clients {
		clients[i] = dial(b, addr, over)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.SetBytes(int64(len(content)))
	b.ResetTimer()
	before := processorTime()
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := c.send(content); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric((processorTime()-before).Seconds()*1000/float64(b.N), "cpu-ms/msg")
	for _, c := range clients {
		_ = c.nc.Close()
	}
}

func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type client struct {
	nc net.Conn
	br *bufio.Reader
}

func dial(b *testing.B, addr string, over *tls.Config) *client {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	c := &client{nc, bufio.NewReader(nc)}
	say := func(s, want string) {
		if err := c.say(s, want); err != nil {
			b.Fatal(err)
		}
	}
	say("", "220")
	say("EHLO c.test\r\n", "250")
	if over != nil {
		say("STARTTLS\r\n", "220")
		c.nc = tls.Client(nc, over)
		c.br = bufio.NewReader(c.nc)
		say("EHLO c.test\r\n", "250")
	}
	return c
}

// say sends s and wants replies with these codes, each to its last line.
func (c *client) say(s string, want ...string) error {
	if s != "" {
		if _, err := io.WriteString(c.nc, s); err != nil {
			return err
		}
	}
	for _, w := range want {
		for more := true; more; {
			line, err := c.br.ReadSlice('\n')
			if err != nil || len(line) < 5 || string(line[:3]) != w {
				return fmt.Errorf("got %q, %w; want %s", line, err, w)
			}
			more = line[3] == '-'
		}
	}
	return nil
}

func (c *client) send(content []byte) error {
	if err := c.say("MAIL FROM:<a@away.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\n", "250", "250", "354"); err != nil {
		return err
	}
	if _, err := c.nc.Write(content); err != nil {
		return err
	}
	return c.say("", "250")
}
