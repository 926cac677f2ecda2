package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/message"
)

// patience bounds a wait for what should be there at once.
const patience = 2 * time.Minute

// TestMain makes the test's own program the filters that the tests need: the name that it is started by says which one.
func TestMain(m *testing.M) {
	if os.Getenv(proto.CookieKey) != "" {
		behave(filepath.Base(os.Args[0]))
	}
	os.Exit(m.Run())
}

// site is a host's folders, and its log.
type site struct {
	t     testing.TB
	dir   string
	opt   host.Options
	host  *host.Host
	empty string // what a filter makes of no subject, behind the mark

	mu  sync.Mutex // guards below
	log strings.Builder
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// await waits for a line of the log.
func (s *site) await(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		if m := re.FindStringSubmatch(s.logged()); m != nil {
			return m
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("no %s in the log within %v", pattern, patience)
	return nil
}

func (s *site) install(name string) {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(s.opt.Directory, name)); err != nil {
		s.t.Fatal(err)
	}
}

// settings writes NAME.toml, all of it at once.
func (s *site) settings(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.opt.Settings, name+".toml")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// newSite makes the folders, with the filters that are named in them.
func newSite(t testing.TB, names ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "ph") // a test's own name may be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{t: t, dir: dir}
	s.opt = host.Options{
		Directory: filepath.Join(dir, "bin"), Settings: filepath.Join(dir, "etc"), Enabled: names, Timeout: patience, StartTimeout: patience,
		OnFailure: host.OnFailureTempFail, Quarantine: host.QuarantineJunk,
		Run: filepath.Join(dir, "run"), State: filepath.Join(dir, "state"), Spool: filepath.Join(dir, "spool"), Keys: filepath.Join(dir, "keys"),
		Owner: os.Geteuid(), MaxMessageSize: 1 << 20, Site: &proto.Site{Hostname: "mx.here.test", AuthservId: "mx.here.test"},
		Log: maillog.New(maillog.NewText(s, slog.LevelDebug)),
	}
	for _, d := range []string{"bin", "etc", "run", "state", "spool", "spool/tmp", "keys"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range names {
		s.install(n)
	}
	return s
}

// start starts the host, and ends it with the test. Nothing may be left of its processes and files then.
func (s *site) start() *host.Host {
	s.t.Helper()
	h, err := host.New(s.t.Context(), s.opt)
	if err != nil {
		s.t.Fatal(err)
	}
	s.host = h
	s.t.Cleanup(func() {
		h.Close()
		for _, d := range []string{"plugins", "filters"} {
			if list, err := os.ReadDir(filepath.Join(s.opt.Run, d)); err != nil || len(list) > 0 {
				s.t.Errorf("run/%s: got %v, %v; want nothing left", d, list, err)
			}
		}
		s.dwindle(0)
		if s.t.Failed() {
			s.t.Log(s.logged())
		}
	})
	return h
}

// processes are those that were started from this site's folder.
func (s *site) processes() []string {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.t.Fatal(err)
	}
	var found []string
	for _, p := range list {
		if b, err := os.ReadFile(p); err == nil && strings.HasPrefix(string(b), s.opt.Directory+"/") {
			found = append(found, filepath.Base(filepath.Dir(p)))
		}
	}
	return found
}

// dwindle waits until no more than n processes are left: one that was killed may need a moment to end.
func (s *site) dwindle(n int) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := s.processes()
		if len(left) <= n {
			return
		}
		if time.Now().After(end) {
			s.t.Errorf("processes run still: %v, want %d", left, n)
			return
		}
	}
}

func event(stage mta.Stage) *mta.Event {
	return &mta.Event{
		Stage: stage, Session: "s1", Role: mta.RoleMX, Listener: ":25", Client: netip.MustParseAddrPort("192.0.2.1:1234"), Helo: "client.test", ESMTP: true,
		HasSender: stage >= mta.AtSender, Sender: address("a@away.test"), Rcpts: rcpts("bob@here.test", "carol@here.test"),
	}
}

func address(s string) mta.Address {
	a, err := mta.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

func rcpts(list ...string) []mta.Recipient {
	var out []mta.Recipient
	for _, s := range list {
		out = append(out, mta.Recipient{Address: address(s)})
	}
	return out
}

// result is what became of a message.
type result struct {
	mta.Verdict
	env      *mta.Envelope
	rendered string
}

const received = "Received: from client.test\r\n\tby mx.here.test\r\n"

// judge puts a message to the filters, as a session of its own.
func (s *site) judge(content string) result {
	s.t.Helper()
	return s.judgeAs(event(mta.AtMessage), content)
}

func (s *site) judgeAs(e *mta.Event, content string) result {
	s.t.Helper()
	f := s.host.Session()
	defer f.End()
	return s.message(f, e, content)
}

func (s *site) message(f *host.Session, e *mta.Event, content string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	env := &mta.Envelope{V: 1, ID: mta.NewID(time.Now()), Sender: e.Sender, Rcpts: e.Rcpts, Prepend: received, Size: int64(len(content))}
	mem, path := []byte(content), ""
	if len(content) > 64<<10 {
		mem, path = nil, filepath.Join(s.opt.Spool, "tmp", string(env.ID))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	v, again := f.Message(ctx, e, env, mem, path)
	env = spooled(s.t, env)
	if again != nil {
		b, err := io.ReadAll(again)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = again.Close()
		content = string(b)
	}
	var out strings.Builder
	if _, err := message.NewReader(env.Prepend, env.Cut, strings.NewReader(content), int64(len(content))).WriteTo(&out); err != nil {
		s.t.Fatal(err)
	}
	return result{v, env, out.String()}
}

// spooled is an envelope as the spool gives it back.
func spooled(t testing.TB, env *mta.Envelope) *mta.Envelope {
	t.Helper()
	b, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	back := &mta.Envelope{}
	if err := json.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	return back
}

// wantRendered compares a message with what it was to become.
func wantRendered(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got the message\n%s\nwant\n%s", quoteLines(got), quoteLines(want))
	}
}

func quoteLines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		fmt.Fprintf(&b, "  %q\n", line)
	}
	return b.String()
}

func removeFilter(s *site, name string) error { return os.Remove(filepath.Join(s.opt.Directory, name)) }
