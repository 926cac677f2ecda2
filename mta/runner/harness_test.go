package runner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

func TestMain(m *testing.M) { mtatest.VerifyTestMain(m) }

const boot = "11111111-2222-3333-4444-555555555555"

var errDisk = errors.New("injected disk fault")

// quickFS is the machine's own filesystem without waiting for disks; its syncs can be made to fail.
type quickFS struct {
	durable.OS
	faults *faults
}

type faults struct {
	mu     sync.Mutex // guards all
	file   error      // of File.Sync
	syncfs error
}

func (f *faults) set(file, syncfs error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.file, f.syncfs = file, syncfs
}

func (q quickFS) wrap(f durable.File, err error) (durable.File, error) {
	if err != nil {
		return nil, err
	}
	return quickFile{f, q.faults}, nil
}
func (q quickFS) Create(p string, m fs.FileMode) (durable.File, error) {
	return q.wrap(q.OS.Create(p, m))
}
func (q quickFS) Open(p string) (durable.File, error)      { return q.wrap(q.OS.Open(p)) }
func (q quickFS) OpenWrite(p string) (durable.File, error) { return q.wrap(q.OS.OpenWrite(p)) }
func (q quickFS) SyncDir(string) error                     { return nil }
func (q quickFS) SyncFS(string) error {
	q.faults.mu.Lock()
	defer q.faults.mu.Unlock()
	return q.faults.syncfs
}

type quickFile struct {
	durable.File
	faults *faults
}

func (f quickFile) Sync() error {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	return f.faults.file
}

// events keeps the log.
type events struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (e *events) Enabled(context.Context, slog.Level) bool { return true }
func (e *events) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *events) WithGroup(string) slog.Handler            { return e }
func (e *events) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.Key + "=" + a.Value.String()
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, line)
	return nil
}

// named returns the lines of one event.
func (e *events) named(name string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.lines), func(l string) bool { return !strings.HasPrefix(l, name+" ") })
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.lines, "\n")
}

// router sends every domain off this host, save "here.test": users there have mailboxes, "alias-..." are aliases.
type router struct {
	mu      sync.Mutex // guards what follows
	aliases map[string][]string
	owner   mta.Address // of all of them
	gone    map[string]bool
	later   map[string]bool // who cannot be decided on
	away    map[string]bool // who is not in here.test any more
	relay   mta.Destination
}

func (r *router) Route(ctx context.Context, a mta.Address) route.Decision {
	r.mu.Lock()
	members := r.aliases[a.String()]
	r.mu.Unlock()
	if members == nil {
		return r.Final(ctx, a)
	}
	d := route.Decision{Kind: route.Alias, Owner: r.owner}
	for _, m := range members {
		to := address(m)
		d.Members = append(d.Members, route.Member{Address: to, Decision: r.Final(ctx, to)})
	}
	return d
}

func (r *router) Final(_ context.Context, a mta.Address) route.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.gone[a.String()]:
		return route.Decision{Kind: route.Refused, Reply: mta.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user here"}}
	case r.later[a.String()]:
		return route.Decision{Kind: route.Deferred, Reply: mta.Reply{Code: 451, Enhanced: "4.3.0", Text: "not now"}}
	case a.Domain == "here.test" && !r.away[a.String()]:
		return route.Decision{Kind: route.Mailbox, Login: a}
	case r.relay != mta.Destination{}:
		return route.Decision{Kind: route.Remote, Dest: r.relay}
	}
	return route.Decision{Kind: route.Remote, Dest: mta.Destination{Domain: a.Domain}}
}

// mailboxes is a Local that remembers what it got.
type mailboxes struct {
	mu   sync.Mutex // guards what follows
	got  map[string][]string
	redo int
	dir  string
	do   func(r local.Request) mta.Outcome // nil: all are delivered
}

func (b *mailboxes) Deliver(_ context.Context, r local.Request) (mta.Outcome, local.Receipt) {
	text, err := io.ReadAll(io.NewSectionReader(r.Content, 0, r.Envelope.Size))
	if err != nil {
		return mta.Outcome{Cause: err}, local.Receipt{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.do != nil {
		if o := b.do(r); o.Status != mta.Delivered {
			return o, local.Receipt{}
		}
	}
	if r.Redo {
		b.redo++
	} else {
		b.got[r.DeliveredTo.String()] = append(b.got[r.DeliveredTo.String()], string(text))
	}
	dev, _, err := durable.OS{}.Device(b.dir)
	return mta.Outcome{Status: mta.Delivered}, local.Receipt{Dev: dev, Dir: b.dir, Synced: r.Sync || err != nil}
}

func (b *mailboxes) Repair(context.Context, local.Request) (bool, local.Receipt, error) {
	return false, local.Receipt{}, nil
}

func (b *mailboxes) of(to string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got[to])
}

// remote is a Remote by a function; the zero remote delivers all.
type remote struct {
	do   func(ctx context.Context, t runner.Transaction) []mta.Outcome
	site func(d mta.Destination) string  // nil: every domain is a site
	down func(t runner.Transaction) bool // nil: none ever is

	mu   sync.Mutex // guards got
	got  []runner.Transaction
	when []time.Time
}

func (r *remote) Site(_ context.Context, d mta.Destination) string {
	if r.site != nil {
		return r.site(d)
	}
	return d.String()
}

func (r *remote) Deliver(ctx context.Context, t runner.Transaction) ([]mta.Outcome, bool) {
	r.mu.Lock()
	r.got, r.when = append(r.got, t), append(r.when, time.Now())
	r.mu.Unlock()
	if r.down != nil && r.down(t) {
		return all(t, mta.Outcome{Code: 451, Enhanced: "4.4.1", Text: "mx." + t.Dest.Domain + ": cannot be reached"}), false
	}
	if r.do != nil {
		return r.do(ctx, t), true
	}
	return all(t, mta.Outcome{Status: mta.Delivered, Code: 250, Host: "mx." + t.Dest.Domain}), true
}

func (r *remote) tries() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.when)
}

func (r *remote) recipients() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.got {
		for _, x := range t.Rcpts {
			out = append(out, x.Address.String())
		}
	}
	slices.Sort(out)
	return out
}

func all(t runner.Transaction, o mta.Outcome) []mta.Outcome {
	return slices.Repeat([]mta.Outcome{o}, len(t.Rcpts))
}

// world is a spool with a runner over it. It lives in a synctest bubble.
type world struct {
	t      testing.TB
	root   string
	faults *faults
	fs     quickFS
	writer *spool.Writer
	woken  chan struct{}

	log    *events
	router *router
	local  *mailboxes
	remote *remote
	set    runner.Settings
	wrap   func(*spool.Store) runner.Store

	store  *spool.Store
	runner *runner.Runner
	stop   context.CancelFunc
	done   chan error
	ready  chan struct{}
}

func newWorld(t testing.TB) *world {
	f := &faults{}
	w := &world{
		t: t, root: t.TempDir(), faults: f, fs: quickFS{faults: f}, woken: make(chan struct{}, 1), log: &events{},
		router: &router{aliases: map[string][]string{}, gone: map[string]bool{}}, remote: &remote{},
		wrap: func(s *spool.Store) runner.Store { return s },
	}
	w.local = &mailboxes{got: map[string][]string{}, dir: w.root}
	w.set = runner.Settings{
		Router: w.router, Local: w.local, Search: w.local, Remote: w.remote,
		Mailbox:  func(a mta.Address) (string, error) { return w.root + "/mail/" + a.String(), nil },
		Hostname: "mail.here.test", Postmaster: address("postmaster@here.test"),
		Lifetime: 5 * 24 * time.Hour, BounceLifetime: 2 * 24 * time.Hour, RetryFirst: 5 * time.Minute, RetryMax: 4 * time.Hour,
		MaxRemote: 200, MaxPerDestination: 20, MaxLocal: 4, Drain: 30 * time.Second,
	}
	if err := spool.MakeDirs(w.fs, w.root); err != nil {
		t.Fatal(err)
	}
	w.writer = spool.OpenWriter(w.fs, w.root, spool.WriterOptions{Boot: boot, Notify: w.wake})
	return w
}

func (w *world) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// begin opens the spool and starts the runner.
func (w *world) begin() {
	w.t.Helper()
	log := maillog.New(w.log)
	store, err := spool.Open(spool.Options{FS: w.fs, Root: w.root, Boot: boot, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = store
	w.runner = runner.New(w.wrap(store), log, w.set)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.done, w.ready = cancel, make(chan error, 1), make(chan struct{})
	go func() { w.done <- w.runner.Run(ctx, w.woken, func() { close(w.ready) }) }()
}

// end stops the runner and closes the spool.
func (w *world) end() error {
	w.stop()
	err := <-w.done
	w.store.Close()
	return err
}

// close ends the world.
func (w *world) close() {
	w.t.Helper()
	if err := w.end(); err != nil {
		w.t.Errorf("Run: %v", err)
	}
	w.writer.Close()
}

// send puts a message into the spool.
func (w *world) send(from string, to ...string) mta.ID {
	w.t.Helper()
	e := &mta.Envelope{Role: mta.RoleMX, Sender: address(from)}
	for _, a := range to {
		e.Rcpts = append(e.Rcpts, mta.Recipient{Address: address(a)})
	}
	return w.commit(e)
}

func (w *world) commit(e *mta.Envelope) mta.ID {
	w.t.Helper()
	in := w.writer.Begin()
	if _, err := io.WriteString(in, "Subject: test\r\n\r\nbody of "+string(in.ID())+"\r\n"); err != nil {
		w.t.Fatal(err)
	}
	if err := in.Commit(e); err != nil {
		w.t.Fatal(err)
	}
	return in.ID()
}

// idle says that nothing is left in the queue.
func (w *world) idle() bool { return len(w.store.Outstanding()) == 0 }

// until lets time pass until a condition holds.
func (w *world) until(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(min(limit/50, time.Minute)) {
		synctest.Wait()
		if cond() {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("after %v: not %s\n%s", limit, what, w.log)
		}
		w.writer.Rotate()
	}
}

// address reads an address; "" is the null sender.
func address(s string) mta.Address {
	if s == "" {
		return mta.Address{}
	}
	a, err := mta.ParseAddress(s)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", s, err))
	}
	return a
}
