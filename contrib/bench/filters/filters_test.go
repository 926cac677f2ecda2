package filters_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// TestMain makes this program the filters: the name that it is started by says which one.
func TestMain(m *testing.M) {
	if os.Getenv(proto.CookieKey) != "" {
		serve(filepath.Base(os.Args[0]))
	}
	os.Exit(m.Run())
}

func serve(name string) {
	info := filters.Info{Name: name, Version: "1", Summary: "does nothing", EnvelopeOnly: !strings.HasPrefix(name, "reads"), Parallel: strings.HasPrefix(name, "beside")}
	if strings.HasPrefix(name, "all") {
		filters.Serve(&all{noop{info}})
	}
	filters.Serve(&noop{info})
}

// noop is asked at the message, all at each stage.
type noop struct{ info filters.Info }

func (n *noop) Describe() filters.Info { return n.info }
func (n *noop) Message(context.Context, *filters.Event) (*filters.Verdict, error) {
	return nil, nil
}

type all struct{ noop }

func (*all) Connect(context.Context, *filters.Event) (*filters.Verdict, error)   { return nil, nil }
func (*all) Hello(context.Context, *filters.Event) (*filters.Verdict, error)     { return nil, nil }
func (*all) Sender(context.Context, *filters.Event) (*filters.Verdict, error)    { return nil, nil }
func (*all) Recipient(context.Context, *filters.Event) (*filters.Verdict, error) { return nil, nil }

// folders makes what a host needs, with the named filters in it.
func folders(b *testing.B, names ...string) host.Options {
	b.Helper()
	dir, err := os.MkdirTemp("", "ph") // a benchmark's own name may be too long for a socket's path
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := host.Options{
		Directory: filepath.Join(dir, "bin"), Settings: filepath.Join(dir, "etc"), Enabled: names, Timeout: 30 * time.Second, StartTimeout: 30 * time.Second,
		OnFailure: host.OnFailureTempFail, Quarantine: host.QuarantineJunk, Run: filepath.Join(dir, "run"), State: filepath.Join(dir, "state"),
		Spool: filepath.Join(dir, "spool"), Owner: os.Geteuid(), MaxMessageSize: 50 << 20,
		Site: &proto.Site{Hostname: "mx.here.test", AuthservId: "mx.here.test"}, Log: maillog.New(maillog.NewText(io.Discard, slog.LevelInfo)),
	}
	for _, d := range []string{o.Directory, o.Settings, o.Run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			b.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range names {
		if err := os.Symlink(self, filepath.Join(o.Directory, n)); err != nil {
			b.Fatal(err)
		}
	}
	return o
}

func startHost(b *testing.B, o host.Options) *host.Host {
	b.Helper()
	h, err := host.New(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Close)
	for _, s := range h.Status() {
		if s.State != "running" {
			b.Fatalf("%s does not run: %s", s.Name, s.Error)
		}
	}
	return h
}

func BenchmarkAccept(b *testing.B) {
	for _, c := range []struct {
		kind string
		n    int
	}{{"none", 0}, {"message", 1}, {"message", 4}, {"all", 1}, {"all", 4}, {"reads", 1}, {"reads", 4}, {"beside", 4}} {
		b.Run(fmt.Sprintf("%s/%d", c.kind, c.n), func(b *testing.B) {
			var names []string
			for i := range c.n {
				names = append(names, fmt.Sprintf("%s-%d", c.kind, i))
			}
			accept(b, startServer(b, folders(b, names...)), 10)
		})
	}
}

type queue struct{ w *spool.Writer }

func (q queue) Begin() (smtpd.Incoming, error) { return q.w.Begin(), nil }

type everybody struct{}

func (everybody) Accept(context.Context, mta.Address) (smtpd.Destination, error) {
	return smtpd.Destination{}, nil
}

type judges struct{ h *host.Host }

func (j judges) Session(string) smtpd.FilterSession {
	if s := j.h.Session(); s != nil {
		return s
	}
	return nil
}

// startServer runs smtpd until the benchmark ends.
func startServer(b *testing.B, o host.Options) (addr string) {
	b.Helper()
	if err := spool.MakeDirs(durable.OS{}, o.Spool); err != nil {
		b.Fatal(err)
	}
	boot, err := spool.BootID()
	if err != nil {
		b.Fatal(err)
	}
	h := startHost(b, o)
	w := spool.OpenWriter(durable.OS{}, o.Spool, spool.WriterOptions{Boot: boot})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := smtpd.New(smtpd.Options{
		Hostname: "mx.here.test", Queue: queue{w}, Router: everybody{}, Filters: judges{h}, Log: maillog.New(maillog.NewText(io.Discard, slog.LevelInfo)),
		MaxRecipients: 100, MaxErrors: 10, MaxLine: 64 << 10, MaxHops: 100, MinRate: 1024, Idle: 5 * time.Minute, Session: time.Hour, Drain: time.Minute,
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

// content is a message of 4 KB.
var content = "Subject: bench\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 52)

// accept sends b.N messages over so many connections, which last.
func accept(b *testing.B, addr string, sessions int) {
	clients := make([]*mtatest.Session, sessions)
	for i := range clients {
		clients[i] = mtatest.Dial(b, nil, addr, nil)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var work sync.WaitGroup
	for _, c := range clients {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				if err := send(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	for _, c := range clients {
		_ = c.Close()
	}
}

func send(c *mtatest.Session) error {
	if err := c.Say("MAIL FROM:<a@away.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\n", "250", "250", "354"); err != nil {
		return err
	}
	return c.Say(content+".\r\n", "250")
}

// caller is the client's end of go-plugin, with nothing of the host's.
type caller struct{ plugin.NetRPCUnsupportedPlugin }

func (caller) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return plugin.ErrProcessNotFound }

func (caller) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return proto.NewFilterClient(conn), nil
}

// bare starts a filter as go-plugin does it.
func bare(b *testing.B, program string) proto.FilterClient {
	b.Helper()
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: proto.CookieKey, MagicCookieValue: proto.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{proto.ProtocolVersion: {proto.PluginName: caller{}}},
		Cmd:              exec.Command(program),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	b.Cleanup(c.Kill)
	p, err := c.Client()
	if err != nil {
		b.Fatal(err)
	}
	raw, err := p.Dispense(proto.PluginName)
	if err != nil {
		b.Fatal(err)
	}
	f, ok := raw.(proto.FilterClient)
	if !ok {
		b.Fatalf("got %T", raw)
	}
	return f
}

func address(b *testing.B, s string) mta.Address {
	b.Helper()
	a, err := mta.ParseAddress(s)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func BenchmarkCall(b *testing.B) {
	o := folders(b, "all-0")
	h, plain := startHost(b, o), bare(b, filepath.Join(o.Directory, "all-0"))
	event := mta.Event{
		Session: "s1", Role: mta.RoleMX, Listener: ":25", Client: netip.MustParseAddrPort("192.0.2.1:1234"), Name: "client.away.test", Helo: "client.away.test",
		ESMTP: true, HasSender: true, Sender: address(b, "a@away.test"), Rcpts: []mta.Recipient{{Address: address(b, "bob@here.test")}},
	}
	wire := &proto.Event{
		Session: "s1", Role: mta.RoleMX, Listener: ":25", ClientAddress: "192.0.2.1", ClientPort: 1234, ClientName: "client.away.test", Helo: "client.away.test",
		Esmtp: true, HasSender: true, Sender: "a@away.test", Recipients: []string{"bob@here.test"},
	}
	sender := func(s *host.Session) error {
		e := event
		e.Stage = mta.AtSender
		if v := s.Ask(b.Context(), &e); v.Action != mta.GoOn {
			return fmt.Errorf("got %v", v)
		}
		return nil
	}
	message := func(s *host.Session) error {
		e := event
		e.Stage = mta.AtMessage
		env := &mta.Envelope{V: 1, ID: "0123456789ABCDEF", Sender: e.Sender, Rcpts: e.Rcpts, Prepend: "Received: by mx.here.test\r\n", Size: int64(len(content))}
		v, r := s.Message(b.Context(), &e, env, []byte(content), "")
		s.End()
		if v.Action != mta.GoOn || r != nil {
			return fmt.Errorf("got %v, %v", v, r)
		}
		return nil
	}
	call := func(method func(context.Context, *proto.Event, ...grpc.CallOption) (*proto.Verdict, error)) error {
		ctx, cancel := context.WithTimeout(b.Context(), o.Timeout)
		defer cancel()
		_, err := method(ctx, wire)
		return err
	}
	o5 := folders(b, "all-0", "all-1", "all-2", "all-3", "all-4")
	five := startHost(b, o5)
	var four []proto.FilterClient
	for _, name := range o5.Enabled[1:] {
		four = append(four, bare(b, filepath.Join(o5.Directory, name)))
	}
	for _, c := range []struct {
		name  string
		calls int
		host  func() error
		bare  func() error
	}{
		{"sender", 1, func() error { return sender(h.Session()) }, func() error { return call(plain.Sender) }},
		{"message", 1, func() error { return message(h.Session()) }, func() error { return call(plain.Message) }},
		{"more-filters", 4, func() error { return message(five.Session()) }, func() error {
			err := message(h.Session())
			for _, f := range four {
				if err == nil {
					err = call(f.Message)
				}
			}
			return err
		}},
	} {
		for _, sessions := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/%d", c.name, sessions), func(b *testing.B) { compare(b, sessions, c.calls, c.host, c.bare) })
		}
	}
}

// compare does both b.N times, in turns, in so many sessions at once, and reports what that is for each of so many calls.
func compare(b *testing.B, sessions, calls int, byHost, byPlugin func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var mu sync.Mutex // guards below
	var host, bare []time.Duration
	timed := func(list []time.Duration, call func() error) []time.Duration {
		begin := time.Now()
		if err := call(); err != nil {
			b.Error(err)
		}
		return append(list, time.Since(begin))
	}
	b.ResetTimer()
	var work sync.WaitGroup
	for range sessions {
		work.Go(func() {
			var x, y []time.Duration
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				if n%2 == 0 { // who comes first finds the processor otherwise than who comes second
					x = timed(x, byPlugin)
				}
				y = timed(y, byHost)
				if n%2 == 1 {
					x = timed(x, byPlugin)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			bare, host = append(bare, x...), append(host, y...)
		})
	}
	work.Wait()
	b.StopTimer()
	report(b, "p50", calls, median(bare), median(host))
	report(b, "mean", calls, mean(bare), mean(host))
}

func report(b *testing.B, what string, calls int, bare, host time.Duration) {
	in := func(d time.Duration) float64 { return float64(d) / float64(calls) / float64(time.Microsecond) }
	b.ReportMetric(in(bare), "bare-"+what+"-µs")
	b.ReportMetric(in(host), "host-"+what+"-µs")
	b.ReportMetric(in(host-bare), "added-"+what+"-µs")
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func mean(list []time.Duration) (sum time.Duration) {
	for _, d := range list {
		sum += d
	}
	return sum / time.Duration(len(list))
}
