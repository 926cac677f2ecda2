package accept_test

import (
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
	clients := make([]*mtatest.Session, sessions)
	for i := range clients {
		clients[i] = mtatest.Dial(b, nil, addr, over)
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
				if err := send(c, content); err != nil {
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
		_ = c.Close()
	}
}

func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func send(c *mtatest.Session, content []byte) error {
	if err := c.Say("MAIL FROM:<a@away.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\n", "250", "250", "354"); err != nil {
		return err
	}
	if _, err := c.Write(content); err != nil {
		return err
	}
	return c.Say("", "250")
}
