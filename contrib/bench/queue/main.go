// Command queue measures what a long queue costs: it fills a spool with deferred messages, says how long the start takes
// with them and how much memory each takes, and how fast new mail passes beside them and without them. All is in one
// process: the spool on a real disk, the schedule, and a next host that takes everything at once.
//
//	go run ./contrib/bench/queue -deferred 200000 -fresh 20000
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/maillog"
	"github.com/posthouse-mail/posthouse/mta/route"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

func main() {
	deferred := flag.Int("deferred", 200000, "messages that wait")
	fresh := flag.Int("fresh", 20000, "new messages of one measurement")
	rounds := flag.Int("rounds", 3, "measurements of new mail, each without and with the queue")
	dir := flag.String("dir", "/var/tmp", "where the spools are: a real disk")
	filled := flag.String("filled", "", "a folder whose folder full is a spool that an earlier run has filled, or else is filled now; it stays")
	profile := flag.String("cpuprofile", "", "write a profile of the start with the queue to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *deferred, *fresh, *rounds, *profile, *filled); err != nil {
		fmt.Fprintln(os.Stderr, "queue:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, parent string, deferred, fresh, rounds int, profile, filled string) error {
	dir, err := os.MkdirTemp(parent, "queue")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	full, empty := filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	if filled != "" {
		full = filepath.Join(filled, "full")
	}
	if _, err := os.Stat(full); err != nil {
		if err := fill(ctx, full, deferred); err != nil {
			return err
		}
	}
	var best [2]result
	for round := range rounds {
		for i, root := range []string{empty, full} {
			if root == full && round == 0 && profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }()
				if err := pprof.StartCPUProfile(f); err != nil {
					return err
				}
			}
			r, err := measure(ctx, root, fresh, root == full && round == 0)
			if err != nil {
				return err
			}
			if round == 0 || r.cpu < best[i].cpu {
				best[i] = r
			}
			fmt.Printf("new mail, %-5s queue: %6.0f messages a second, CPU of a message %v\n", filepath.Base(root), r.rate, r.cpu)
		}
	}
	fmt.Printf("the least CPU of each: %v and %v, the queue costs %.1f %%\n", best[0].cpu, best[1].cpu,
		100*(float64(best[1].cpu)/float64(best[0].cpu)-1))
	return nil
}

// result of one measurement of new mail. The processor time is what counts on a machine that has other things to do.
type result struct {
	rate float64
	cpu  time.Duration
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure starts a runner over a spool and lets new mail pass. With report it says what the start and the queue cost.
func measure(ctx context.Context, root string, fresh int, report bool) (r result, err error) {
	before := heap()
	begun, used := time.Now(), cpu()
	q, err := start(ctx, root, false)
	if err != nil {
		return r, err
	}
	defer func() {
		if serr := q.stop(); err == nil {
			err = serr
		}
	}()
	if report {
		pprof.StopCPUProfile()
		took := time.Since(begun)
		deferred := len(q.store.Outstanding())
		each := int64(heap()-before) / int64(max(deferred, 1))
		fmt.Printf("start with %d deferred messages: %v, CPU %v\nmemory: %d octets a message\n", deferred, took.Round(time.Millisecond), (cpu() - used).Round(time.Millisecond), each)
	}
	runtime.GC()
	begun, used = time.Now(), cpu()
	if err := q.send(ctx, fresh, "new.test", 50); err != nil {
		return r, err
	}
	if err := q.wait(ctx, fresh); err != nil {
		return r, err
	}
	r.rate = float64(fresh) / time.Since(begun).Seconds()
	r.cpu = ((cpu() - used) / time.Duration(fresh)).Round(time.Microsecond)
	return r, nil
}

func heap() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fill makes a spool in which messages wait for a host that is down.
func fill(ctx context.Context, root string, n int) error {
	begun := time.Now()
	q, err := start(ctx, root, true)
	if err != nil {
		return err
	}
	if err := q.send(ctx, n, "dead.test", 500); err != nil {
		return err
	}
	if err := q.wait(ctx, n); err != nil {
		return err
	}
	fmt.Printf("%d messages deferred in %v\n", n, time.Since(begun).Round(time.Second))
	return q.stop()
}

// queue is a spool with a runner over it.
type queue struct {
	store  *spool.Store
	writer *spool.Writer
	done   chan error
	cancel context.CancelFunc
	host   *host
}

func start(ctx context.Context, root string, down bool) (*queue, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if err := spool.MakeDirs(durable.OS{}, root); err != nil {
		return nil, err
	}
	boot, err := spool.BootID()
	if err != nil {
		return nil, err
	}
	log := maillog.New(slog.NewTextHandler(io.Discard, nil))
	store, err := spool.Open(spool.Options{FS: durable.OS{}, Root: root, Boot: boot, Log: log, Readers: 4 * runtime.GOMAXPROCS(0)})
	if err != nil {
		return nil, err
	}
	woken := make(chan struct{}, 1)
	q := &queue{store: store, done: make(chan error, 1), host: &host{down: down}}
	q.writer = spool.OpenWriter(durable.OS{}, root, spool.WriterOptions{Boot: boot, Notify: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	postmaster, err := mta.ParseAddress("postmaster@here.test")
	if err != nil {
		return nil, err
	}
	r := runner.New(store, log, runner.Settings{
		Router: everywhere{}, Local: nowhere{}, Search: nowhere{}, Remote: q.host,
		Mailbox:  func(mta.Address) (string, error) { return "", os.ErrNotExist },
		Hostname: "mx.here.test", Postmaster: postmaster,
		Lifetime: 5 * 24 * time.Hour, BounceLifetime: 2 * 24 * time.Hour, RetryFirst: 3 * time.Hour, RetryMax: 4 * time.Hour,
		MaxRemote: 200, MaxPerDestination: 20, MaxLocal: 16, Drain: time.Second,
	})
	run, cancel := context.WithCancel(ctx)
	q.cancel = cancel
	ready := make(chan struct{})
	go func() { q.done <- r.Run(run, woken, func() { close(ready) }) }()
	select {
	case <-ready:
		return q, nil
	case err := <-q.done:
		if err == nil {
			err = ctx.Err()
		}
		return nil, err
	}
}

func (q *queue) stop() error {
	q.cancel()
	err := <-q.done
	q.writer.Close()
	q.store.Close()
	return err
}

var body = "From: alice@here.test\r\nSubject: a letter\r\n\r\n" + strings.Repeat("A line of a usual length in a letter to a friend.\r\n", 80)

// send commits n messages, so many at once.
func (q *queue) send(ctx context.Context, n int, domain string, writers int) error {
	errs := make(chan error, writers)
	var next atomic.Int64
	for range writers {
		go func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				if err := q.commit(domain); err != nil {
					errs <- err
					return
				}
			}
			errs <- ctx.Err()
		}()
	}
	var first error
	for range writers {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func (q *queue) commit(domain string) error {
	in := q.writer.Begin()
	if _, err := io.WriteString(in, body); err != nil {
		return err
	}
	return in.Commit(&mta.Envelope{
		Role: mta.RoleMX, Sender: mta.Address{Local: "alice", Domain: "here.test"},
		Rcpts:  []mta.Recipient{{Address: mta.Address{Local: "recipient", Domain: domain}}},
		Origin: mta.Origin{Listener: "127.0.0.1:25", Client: "127.0.0.1:50000", Helo: "client.here.test"},
	})
}

// wait returns when the host has seen n messages and, where it is down, all of them wait in the spool.
func (q *queue) wait(ctx context.Context, n int) error {
	for ; ; time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !q.host.down && q.host.seen.Load() >= int64(n) {
			return nil
		}
		if q.host.down {
			all := q.store.Outstanding()
			waiting := 0
			for _, m := range all {
				if !q.store.Due(m, time.Time{}).IsZero() {
					waiting++
				}
			}
			if waiting >= n {
				return nil
			}
			time.Sleep(time.Second)
		}
	}
}

// host is the next host of all mail.
type host struct {
	down bool
	seen atomic.Int64
}

func (h *host) Site(context.Context, mta.Destination) string { return "mx.far.test" }

func (h *host) Deliver(_ context.Context, t runner.Transaction) ([]mta.Outcome, bool) {
	h.seen.Add(1)
	out := make([]mta.Outcome, len(t.Rcpts))
	for i := range out {
		out[i] = mta.Outcome{Status: mta.Delivered, Code: 250, Enhanced: "2.0.0", Text: "taken", Host: "mx.far.test", Addr: "192.0.2.1:25"}
		if h.down {
			out[i] = mta.Outcome{Code: 450, Enhanced: "4.2.0", Text: "greylisted, come back in a while", Host: "mx.far.test", Addr: "192.0.2.1:25"}
		}
	}
	return out, true
}

// everywhere routes all mail off this host.
type everywhere struct{}

func (everywhere) Route(_ context.Context, a mta.Address) route.Decision {
	return route.Decision{Kind: route.Remote, Dest: mta.Destination{Domain: a.Domain}}
}
func (e everywhere) Final(ctx context.Context, a mta.Address) route.Decision { return e.Route(ctx, a) }

// nowhere has no mailboxes.
type nowhere struct{}

func (nowhere) Deliver(context.Context, local.Request) (mta.Outcome, local.Receipt) {
	return mta.Outcome{}, local.Receipt{}
}
func (nowhere) Repair(context.Context, local.Request) (bool, local.Receipt, error) {
	return false, local.Receipt{}, nil
}
