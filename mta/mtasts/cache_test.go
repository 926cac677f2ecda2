package mtasts_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

const enforce = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n"

// world is a domain d.test with its record, and the web server of its policy.
type world struct {
	t     *testing.T
	zone  *mtatest.Zone
	opt   mtasts.Options
	cache *mtasts.Cache
	log   *bytes.Buffer
	now   time.Time

	mu      sync.Mutex // guards what follows
	handler http.HandlerFunc
	asked   int
}

func newWorld(t *testing.T, certNames ...string) *world {
	w := &world{t: t, zone: mtatest.NewZone(t), now: time.Now(), log: &bytes.Buffer{}}
	certs := mtatest.NewCerts(t, append(certNames, "x.test")...)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		h := w.handler
		w.asked++
		w.mu.Unlock()
		if r.URL.Path != "/.well-known/mta-sts.txt" || r.Host != "mta-sts.d.test" {
			http.Error(rw, "no", http.StatusNotFound)
			return
		}
		h(rw, r)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.TLS = certs.Server()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	r, err := dns.New(dns.Options{Servers: []string{w.zone.Addr()}, Entries: -1})
	if err != nil {
		t.Fatal(err)
	}
	w.opt = mtasts.Options{
		Dir: filepath.Join(t.TempDir(), "mta-sts"), Resolver: r, TLS: certs.Client(""), Now: func() time.Time { return w.now },
		Log: maillog.New(slog.NewTextHandler(w.log, nil)),
		Dial: func(ctx context.Context, network, hostPort string) (net.Conn, error) {
			if hostPort != "mta-sts.d.test:443" {
				t.Errorf("dialled %s, want mta-sts.d.test:443", hostPort)
			}
			var d net.Dialer
			return d.DialContext(ctx, network, srv.Listener.Addr().String())
		},
	}
	w.restart()
	return w
}

func (w *world) restart() {
	c, err := mtasts.Open(w.opt)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cache = c
}

func (w *world) record(text string) {
	w.zone.Remove("_mta-sts.d.test")
	if text != "" {
		if err := w.zone.Add(`_mta-sts.d.test. 60 IN TXT "` + text + `"`); err != nil {
			w.t.Fatal(err)
		}
	}
}

func serve(kind, body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(rw, body)
	}
}

func (w *world) serve(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

// expect asks for the policy: its mode ("" for none), the kind of error, and how often the web server was asked.
func (w *world) expect(what string, mode mtasts.Mode, want error, asked int) {
	w.t.Helper()
	w.mu.Lock()
	w.asked = 0
	w.mu.Unlock()
	p, err := w.cache.Get(w.t.Context(), "d.test")
	got := mtasts.Mode("")
	if p != nil {
		got = p.Mode
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got != mode || !errors.Is(err, want) || w.asked != asked {
		w.t.Errorf("%s: got %q, %v, asked %d times; want %q, %v, %d", what, got, err, w.asked, mode, want, asked)
	}
}

func TestPoliciesThatCannotBeHad(t *testing.T) {
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want error
	}{
		{"not found", http.NotFound, mtasts.ErrFetch},
		{"a redirect", func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://mta-sts.d.test/.well-known/mta-sts.txt", http.StatusFound)
		}, mtasts.ErrFetch},
		{"HTML", serve("text/html", enforce), mtasts.ErrFetch},
		{"no type", serve("", enforce), mtasts.ErrFetch},
		{"too large", serve("text/plain", enforce+strings.Repeat("x: y\n", 64<<10/5)), mtasts.ErrFetch},
		{"endless header", func(rw http.ResponseWriter, _ *http.Request) {
			for range 100 {
				rw.Header().Add("X", strings.Repeat("x", 1<<10))
			}
		}, mtasts.ErrFetch},
		{"cut short", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			rw.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(rw, enforce)
		}, mtasts.ErrFetch},
		{"no policy", serve("text/plain", "hello"), mtasts.ErrInvalid},
		{"empty", serve("text/plain", ""), mtasts.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "mta-sts.d.test")
			w.record("v=STSv1; id=1")
			w.serve(c.h)
			w.expect("first", "", c.want, 1)
			w.expect("again at once", "", c.want, 0)
			w.now = w.now.Add(11 * time.Minute)
			w.serve(serve("text/plain; charset=utf-8", enforce))
			w.expect("later, mended", mtasts.Enforce, nil, 1)
			if n := strings.Count(w.log.String(), "op=fetch"); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, w.log)
			}
		})
	}
	w := newWorld(t, "d.test", "www.d.test")
	w.record("v=STSv1; id=1")
	w.serve(serve("text/plain", enforce))
	w.expect("certificate of another name", "", mtasts.ErrFetch, 0)
}

func TestThePolicyIsKeptAgainstThoseWhoSuppressIt(t *testing.T) {
	w := newWorld(t, "mta-sts.d.test")
	w.serve(serve("text/plain", enforce))
	w.expect("no record", "", nil, 0)
	w.record("v=STSv1; id=1")
	w.expect("new", mtasts.Enforce, nil, 1)
	w.expect("known", mtasts.Enforce, nil, 0)
	w.restart()
	w.expect("after a restart", mtasts.Enforce, nil, 0)
	w.record("")
	w.expect("record gone", mtasts.Enforce, nil, 0)
	w.zone.Rcode("_mta-sts.d.test", wire.RcodeServerFailure)
	w.expect("record cannot be looked up", mtasts.Enforce, nil, 0)
	w.zone.Rcode("_mta-sts.d.test", wire.RcodeSuccess)
	w.record("v=STSv1; id=2")
	w.serve(http.NotFound)
	w.expect("a newer one cannot be had", mtasts.Enforce, mtasts.ErrFetch, 1)
	w.now = w.now.Add(23 * time.Hour)
	w.restart()
	w.expect("just before its time is over", mtasts.Enforce, mtasts.ErrFetch, 1)
	w.now = w.now.Add(2 * time.Hour)
	w.expect("its time is over", "", mtasts.ErrFetch, 1)
	w.now = w.now.Add(time.Hour)
	w.serve(serve("text/plain", strings.Replace(enforce, "enforce", "testing", 1)))
	w.expect("the newer one", mtasts.Testing, nil, 1)
	w.record("v=STSv1; id=3")
	w.serve(serve("text/plain", strings.Replace(enforce, "enforce", "none", 1)))
	w.expect("given up", "", nil, 1)
	w.expect("given up, known", "", nil, 0)
}

func TestSpoiledFilesAreFetchedAnew(t *testing.T) {
	w := newWorld(t, "mta-sts.d.test")
	w.serve(serve("text/plain", enforce))
	w.record("v=STSv1; id=1")
	for _, text := range []string{"", "{", `{"domain":"d.test","policy":""}`, `{"domain":"other.test","policy":"version: STSv1\nmode: none\nmax_age: 1"}`, strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(filepath.Join(w.opt.Dir, "d.test"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.restart()
		w.expect(text[:min(len(text), 40)], mtasts.Enforce, nil, 1)
	}
	for _, bad := range []string{"", "..", "../x", "a/b", "A.test", "a..b", strings.Repeat("a", 300)} {
		if p, err := w.cache.Get(t.Context(), bad); p != nil {
			t.Errorf("%q: got %+v, %v; want none", bad, p, err)
		}
	}
}

func TestPoliciesAreRefreshedWhileTheyAreUsed(t *testing.T) {
	w := newWorld(t, "mta-sts.d.test")
	w.serve(serve("text/plain", strings.Replace(enforce, "86400", "8640000", 1)))
	w.record("v=STSv1; id=1")
	w.expect("new", mtasts.Enforce, nil, 1)
	file := filepath.Join(w.opt.Dir, "d.test")
	run := func(what string, asked int) {
		t.Helper()
		w.mu.Lock()
		w.asked = 0
		w.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		w.cache.Sweep(ctx)
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.asked != asked {
			t.Errorf("%s: fetched %d times, want %d", what, w.asked, asked)
		}
	}
	run("fresh", 0)
	w.now = w.now.Add(25 * time.Hour)
	run("a day old", 1)
	run("fresh again", 0)
	w.now = w.now.Add(40 * 24 * time.Hour)
	run("nobody asks for it", 0)
	w.expect("still in force", mtasts.Enforce, nil, 0)
	run("somebody does", 1)
	w.now = w.now.Add(101 * 24 * time.Hour)
	w.record("")
	run("its time is over", 0)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a policy that has run out: got %v, want none", err)
	}
	w.expect("its time is over", "", nil, 0)
}

func TestAReaderOfAnotherProgramsPoliciesChangesNothing(t *testing.T) {
	w := newWorld(t, "mta-sts.d.test")
	w.opt.ReadOnly = true
	w.opt.Dir = filepath.Join(w.opt.Dir, "absent")
	w.restart()
	w.record("v=STSv1; id=1;")
	w.serve(serve("text/plain", enforce))
	w.expect("fetched", mtasts.Enforce, nil, 1)
	w.expect("held in memory", mtasts.Enforce, nil, 0)
	if _, err := os.Stat(w.opt.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: got %v, want none", err)
	}

	w.opt.Dir, w.opt.ReadOnly = filepath.Dir(w.opt.Dir), false
	w.restart()
	w.expect("kept", mtasts.Enforce, nil, 1)
	path := filepath.Join(w.opt.Dir, "d.test")
	old := w.now.Add(-48 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.opt.ReadOnly = true
	w.restart()
	w.expect("read", mtasts.Enforce, nil, 0)
	w.record("v=STSv1; id=2;")
	w.serve(serve("text/plain", strings.Replace(enforce, "enforce", "testing", 1)))
	w.expect("a newer one", mtasts.Testing, nil, 1)
	after, err := os.ReadFile(path)
	st, serr := os.Stat(path)
	if err != nil || serr != nil || !bytes.Equal(before, after) || !st.ModTime().Equal(old) {
		t.Errorf("the file: got %q of %v, want it as it was", after, st.ModTime())
	}
}
