package filters

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/posthouse-mail/posthouse/filters/proto"
)

// maxRequest bounds a request of smtpd's, octets; it passes messages by their path.
const maxRequest = 16 << 20

// Serve lets f work for smtpd until smtpd ends it. It does not return.
func Serve(f Filter) {
	if os.Getenv(proto.CookieKey) != proto.CookieValue {
		fmt.Fprintf(os.Stderr, "%s is a filter for Posthouse: smtpd starts it. Enable it with 'posthouse filter enable %[1]s', or try it with 'posthouse filter run %[1]s < message.eml'.\n", filepath.Base(os.Args[0]))
		os.Exit(64) // EX_USAGE
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP) // a terminal's, meant for smtpd
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{MagicCookieKey: proto.CookieKey, MagicCookieValue: proto.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{
			proto.ProtocolVersion: {proto.PluginName: &served{f: f}},
		},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(maxRequest))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	if c, ok := f.(Closer); ok {
		if err := c.Close(); err != nil {
			Log().Error("closing", "err", err)
		}
	}
	os.Exit(0)
}

// OnWire is f as smtpd sees it: for filtertest, and for who serves a filter otherwise than Serve does.
func OnWire(f Filter) proto.FilterServer { return &server{f: f} }

type served struct {
	plugin.NetRPCUnsupportedPlugin
	f Filter
}

func (s *served) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	proto.RegisterFilterServer(g, OnWire(s.f))
	return nil
}

func (*served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound // a filter calls nobody
}

// stderr is the program's own: go-plugin puts a pipe in its place.
var stderr = os.Stderr

// Log returns a logger whose lines come into smtpd's log under the filter's name.
func Log() *slog.Logger {
	return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: hclogNames}))
}

// hclogNames gives the fields of a line the names that smtpd's side of go-plugin knows.
func hclogNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("@timestamp", a.Value.Time().Format("2006-01-02T15:04:05.000000Z07:00"))
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("@level", hclogLevel(level))
	case slog.MessageKey:
		a.Key = "@message"
	}
	return a
}

func hclogLevel(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// delay is a verdict's delay on the wire.
func delay(d time.Duration) uint32 { return uint32(min(max(d.Milliseconds(), 0), 1<<31)) }
