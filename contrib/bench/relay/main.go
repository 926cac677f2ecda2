// Command relay measures how fast a mail server passes messages on, Posthouse and Postfix side by side in one run: both
// take the same messages on a loopback address and relay them to the same sink (Postfix's smtp-sink, fed by its
// smtp-source), each with its log in a file and its queue on the same filesystem, durable before the 250. The sink alone
// comes first: it is the ceiling. It needs root and Postfix's programs (apt-get install postfix; no daemon of it needs to
// run), makes instances of its own in a folder that it removes, and touches no other.
//
//	go run ./contrib/bench/relay -n 5000 -size 4096 -sessions 10,50
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience bounds one measurement.
const patience = 10 * time.Minute

type options struct {
	n, size int
	reuse   bool // the source sends all of a session's messages over one connection
	dir     string
	profile string
	full    string
}

// server is what is measured.
type server interface {
	name() string
	start(ctx context.Context, sink string) (addr string, err error)
	cpu() (time.Duration, error) // of all its processes, so far
	stop() error
}

func main() {
	o := options{}
	flag.IntVar(&o.n, "n", 5000, "messages of one measurement")
	flag.IntVar(&o.size, "size", 4096, "octets of a message")
	flag.BoolVar(&o.reuse, "reuse", false, "the source sends many messages over one connection")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where the queues are: a real disk")
	flag.StringVar(&o.profile, "log", "", "keep Posthouse's logs in this folder")
	flag.StringVar(&o.full, "queue", "", "Posthouse begins with this spool, such as the folder full of contrib/bench/queue -filled")
	sessions := flag.String("sessions", "10,50", "sessions of the source at once")
	only := flag.String("only", "", "measure this server alone: posthouse or postfix")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, *sessions, *only); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, sessions, only string) (err error) {
	for _, p := range []string{"smtp-sink", "smtp-source", "postfix"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%w (apt-get install postfix)", err)
		}
	}
	dir, err := os.MkdirTemp(o.dir, "relay")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix drops its rights
		return err
	}
	fmt.Printf("%d messages of %d octets, %d processors, queues under %s\n", o.n, o.size, runtime.NumCPU(), o.dir)
	fmt.Printf("%-10s %9s %10s %10s %12s\n", "server", "sessions", "accepted/s", "relayed/s", "CPU/message")
	for _, field := range strings.Split(sessions, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		if err := ceiling(ctx, o, n); err != nil {
			return err
		}
		var rows []result
		for _, s := range []server{&posthouse{dir: filepath.Join(dir, "posthouse"), keep: o.profile, full: o.full}, &postfix{dir: filepath.Join(dir, "postfix")}} {
			if only != "" && only != s.name() {
				continue
			}
			r, err := measure(ctx, o, s, n)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
			r.print(s.name(), n)
			rows = append(rows, r)
		}
		if len(rows) == 2 {
			fmt.Printf("%-10s %9d %28.2f times the speed at %.2f of the CPU\n", "ratio", n, rows[0].relayed/rows[1].relayed,
				float64(rows[0].cpu)/float64(rows[1].cpu))
		}
	}
	return nil
}

// result of one measurement: messages a second, and processor time of a message.
type result struct {
	accepted, relayed float64
	cpu               time.Duration
}

func (r result) print(name string, sessions int) {
	cpu := "-"
	if r.cpu > 0 {
		cpu = r.cpu.Round(10 * time.Microsecond).String()
	}
	fmt.Printf("%-10s %9d %10.0f %10.0f %12s\n", name, sessions, r.accepted, r.relayed, cpu)
}

// ceiling measures the source and the sink without a server between them.
func ceiling(ctx context.Context, o options, sessions int) error {
	k, err := startSink(ctx)
	if err != nil {
		return err
	}
	defer k.stop()
	begun := time.Now()
	if err := source(ctx, o, k.addr, sessions); err != nil {
		return err
	}
	rate := float64(o.n) / time.Since(begun).Seconds()
	result{accepted: rate, relayed: rate}.print("sink alone", sessions)
	return nil
}

func measure(ctx context.Context, o options, s server, sessions int) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k, err := startSink(ctx)
	if err != nil {
		return r, err
	}
	defer k.stop()
	addr, err := s.start(ctx, k.addr)
	if err != nil {
		return r, err
	}
	defer func() {
		if serr := s.stop(); err == nil {
			err = serr
		}
	}()
	// A first round starts what starts at the first message.
	warm := o
	warm.n = 100
	if err := source(ctx, warm, addr, sessions); err != nil {
		return r, err
	}
	if err := k.wait(ctx, warm.n); err != nil {
		return r, err
	}
	before, err := s.cpu()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	if err := source(ctx, o, addr, sessions); err != nil {
		return r, err
	}
	r.accepted = float64(o.n) / time.Since(begun).Seconds()
	if err := k.wait(ctx, warm.n+o.n); err != nil {
		return r, err
	}
	r.relayed = float64(o.n) / time.Since(begun).Seconds()
	after, err := s.cpu()
	r.cpu = (after - before) / time.Duration(o.n)
	return r, err
}
