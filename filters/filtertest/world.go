package filtertest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// world is one instance of the filter, served by gRPC, and a folder for it.
type world struct {
	dir    string
	name   string
	opt    host.Options
	filter filters.Filter
	client proto.FilterClient
	stop   func()

	mu     sync.Mutex // guards below
	record []call     // while recording
}

// startTime bounds each call before the first session. It is far more than any filter needs on any machine.
const startTime = 2 * time.Minute

// newWorld serves a new filter. Its folder is that of before, where one is given.
func newWorld(t testing.TB, s *Suite, dir string) *world {
	t.Helper()
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ft"); err != nil { // a test's own folder may be too long for a socket's path
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	for _, d := range []string{"etc", "run", "state", "spool/tmp", "keys"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{dir: dir, filter: s.New()}
	w.name = w.filter.Describe().Name
	w.opt = host.Options{
		Directory: filepath.Join(dir, "bin"), Settings: filepath.Join(dir, "etc"), Timeout: s.Deadline, StartTimeout: startTime, OnFailure: host.OnFailureAccept, // with the other local mail would wait
		Quarantine: host.QuarantineJunk, Run: filepath.Join(dir, "run"), State: filepath.Join(dir, "state"), Spool: filepath.Join(dir, "spool"),
		Keys: filepath.Join(dir, "keys"), Owner: os.Geteuid(), MaxMessageSize: 64 << 20, Site: siteFor(s), Log: maillog.New(slog.DiscardHandler),
	}
	w.serve(t)
	return w
}

func siteFor(s *Suite) *proto.Site {
	p := &proto.Site{
		Hostname: s.Site.Hostname, AuthservId: s.Site.AuthservID, LocalDomains: s.Site.LocalDomains, Resolvers: s.Site.Resolvers,
		SharedStoreUrl: s.Site.SharedStoreURL, SubmitSocket: s.Site.SubmitSocket,
	}
	for _, k := range s.Site.DKIMKeys {
		p.DkimKeys = append(p.DkimKeys, &proto.DkimKey{Domain: k.Domain, Selector: k.Selector, Path: k.Path})
	}
	return p
}

// maxRequest is as in the package filters.
const maxRequest = 16 << 20

func (w *world) serve(t testing.TB) {
	t.Helper()
	socket := filepath.Join(w.dir, "s")
	_ = os.Remove(socket) // of the one before
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest))
	proto.RegisterFilterServer(server, filters.OnWire(w.filter))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) }) // it ends by Stop
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(w.intercept))
	if err != nil {
		t.Fatal(err)
	}
	w.client = proto.NewFilterClient(conn)
	stop := sync.OnceFunc(func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
		if c, ok := w.filter.(filters.Closer); ok {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	w.stop = stop
	t.Cleanup(stop)
}

// attach configures and activates the filter as smtpd would. settings are the text of NAME.toml.
func (w *world) attach(t testing.TB, settings string) (*host.Host, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.opt.Settings, w.name+".toml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return host.Attach(context.Background(), w.opt, w.name, w.client)
}

// started is a filter at work.
func started(t testing.TB, s *Suite) (*world, *host.Host) {
	t.Helper()
	w := newWorld(t, s, "")
	return w, w.start(t, s)
}

func (w *world) start(t testing.TB, s *Suite) *host.Host {
	t.Helper()
	h, err := w.attach(t, s.Settings)
	if err != nil {
		t.Fatalf("it does not start with its settings: %v", err)
	}
	stop := w.stop
	w.stop = sync.OnceFunc(func() { h.Close(); stop() })
	t.Cleanup(w.stop)
	return h
}

// try puts a message to the filter and wants no failure. ok says whether there was none.
func try(ctx context.Context, t testing.TB, h *host.Host, what string, m host.Trial) (*host.Outcome, bool) {
	t.Helper()
	begin := time.Now()
	o, err := h.Try(ctx, m)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return nil, false
	}
	ok := true
	for _, a := range o.Answers {
		if a.Failure != "" {
			t.Errorf("%s: at %s: %s (after %s)", what, a.Stage, a.Failure, time.Since(begin).Round(time.Millisecond))
			ok = false
		}
	}
	return o, ok
}

// summary is what two runs of the same message are compared by: all but how long it took.
func summary(o *host.Outcome) string {
	if o == nil {
		return ""
	}
	c := *o
	c.Answers = append([]host.Answer(nil), o.Answers...)
	for i := range c.Answers {
		c.Answers[i].Took = 0
	}
	c.Message = nil
	return fmt.Sprintf("%+v", c)
}
