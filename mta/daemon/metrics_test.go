package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// ask gets a page over a Unix socket.
func ask(t *testing.T, socket, page string) (int, string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	res, err := (&http.Client{Transport: tr}).Get("http://here" + page)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func wantHealth(t *testing.T, socket string, status int, text string) {
	t.Helper()
	if got, body := ask(t, socket, "/healthz"); got != status || body != text+"\n" {
		t.Errorf("healthz: got %d %q, want %d %q", got, body, status, text)
	}
}

func TestMetricsAreServedUntilTheWorkIsOver(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "m")
	path := writeConfig(t, dir, "[metrics]\npop3d = \"unix:"+socket+"\"\n")
	log := &output{}
	status := start("posthouse-pop3d", []string{"-c", path}, &bytes.Buffer{}, log, func(ctx context.Context, a *App) error {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "posthouse_test_total", Help: "A test's."})
		if err := a.ServeMetrics(c); err != nil {
			return err
		}
		c.Add(3)
		wantHealth(t, socket, 503, "starting")
		if err := a.Ready(); err != nil {
			return err
		}
		wantHealth(t, socket, 200, "ok")
		_, page := ask(t, socket, "/metrics")
		for _, want := range []string{"\nposthouse_test_total 3\n", `posthouse_build_info{program="posthouse-pop3d",version="` + Version() + `"} 1`, "\ngo_goroutines ", "\nprocess_open_fds "} {
			if !strings.Contains(page, want) {
				t.Errorf("got %s\nwant %q in it", page, want)
			}
		}
		if got, _ := ask(t, socket, "/debug/pprof/"); got != 404 {
			t.Errorf("another page: got %d, want 404", got)
		}
		signalSelf(t, syscall.SIGTERM)
		<-ctx.Done()
		wantHealth(t, socket, 503, "stopping") // a drain goes on
		return nil
	})
	if status != 0 {
		t.Errorf("got status %d, want 0:\n%s", status, log)
	}
	wantLog(t, log, "event=listening address=unix:"+socket)
	if c, err := net.Dial("unix", socket); err == nil {
		c.Close()
		t.Error("the socket takes connections after the end")
	}
}

func TestWithoutAnAddressNoMetricsAreServed(t *testing.T) {
	log := &output{}
	status := start("posthouse-pop3d", []string{"-c", writeConfig(t, t.TempDir(), "")}, &bytes.Buffer{}, log, func(_ context.Context, a *App) error {
		return a.ServeMetrics()
	})
	if status != 0 || strings.Contains(log.String(), "event=listening") {
		t.Errorf("got status %d and log\n%s\nwant 0 and no listener", status, log)
	}
}

func TestAnAddressInUseEndsTheStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	log := &output{}
	path := writeConfig(t, t.TempDir(), "[metrics]\npop3d = \""+ln.Addr().String()+"\"\n")
	status := start("posthouse-pop3d", []string{"-c", path}, &bytes.Buffer{}, log, func(_ context.Context, a *App) error { return a.ServeMetrics() })
	if status != ExitOSError {
		t.Errorf("got status %d, want %d", status, ExitOSError)
	}
	wantLog(t, log, "another program listens there")
}

func TestAReloadThatMovesTheMetricsIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := writeConfig(t, dir, "")
	log := &output{}
	status := start("posthouse-pop3d", []string{"-c", path}, &bytes.Buffer{}, log, func(_ context.Context, a *App) error {
		if err := a.ServeMetrics(); err != nil {
			return err
		}
		writeConfig(t, dir, "[metrics]\npop3d = \"127.0.0.1:9127\"\n")
		a.reloadNow()
		return nil
	})
	if status != 0 {
		t.Errorf("got status %d, want 0", status)
	}
	wantLog(t, log, `key=metrics.pop3d text="sockets change at a restart only"`, "event=reload-failed")
}
