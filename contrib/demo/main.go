// Command posthouse-demo shows a message's whole way on this machine: it makes an instance of Posthouse in ./demo,
// starts its daemons, sends a message from alice to bob, fetches it again and compares it with what was sent. Then it
// shows the daemons' log until it is told to end. `make demo` builds and starts it; it is never installed.
//
// The sending half is the project's own client (RFC 5321, 3207, 4954); the fetching half is in pop3.go (RFC 1939, 2595).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// Bounds of the waits.
const (
	startTime = 30 * time.Second // for one daemon to be ready
	tripTime  = 60 * time.Second // for the message to come back
	stopTime  = 10 * time.Second // for one daemon to end after SIGTERM
)

// errInterrupted says that somebody ended the demo before the message was back.
var errInterrupted = errors.New("interrupted before the message was back")

func main() {
	// The kernel tells the daemons to end when the thread that started them is gone: this one stays to the end.
	runtime.LockOSThread()
	once := pflag.Bool("once", false, "end after the round trip")
	dir := pflag.String("dir", "demo", "make the instance in `DIR`")
	pflag.Parse()
	if pflag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "posthouse-demo: unexpected argument %q; --help says what there is\n", pflag.Arg(0))
		os.Exit(2)
	}
	if err := run(*dir, *once); err != nil {
		fmt.Fprintf(os.Stderr, "\nposthouse-demo: %v\n", err)
		os.Exit(1)
	}
}

// run makes an instance, has a message go round in it, and stays until a signal comes, or not at all with once.
func run(dir string, once bool) error {
	ctx, unsignal := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer unsignal()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := newInstance(dir, filepath.Dir(self))
	if err != nil {
		return err
	}
	defer in.close()
	if err := portsFree(listeners); err != nil {
		return err
	}
	if err := in.make(ctx); err != nil {
		return orInterrupted(ctx, err)
	}
	say("An instance of Posthouse in %s, made anew.", in.dir)

	d := newDaemons(ctx, in)
	err = d.use(ctx, once)
	ended := d.stop()
	return errors.Join(orInterrupted(ctx, err), ended)
}

// use is what happens while the daemons run. It ends without an error when signalled ends after the round trip.
func (d *daemons) use(signalled context.Context, once bool) error {
	say("")
	for _, name := range []string{"queue-runner", "smtpd", "pop3d"} {
		took, err := d.start(name)
		if err != nil {
			return err
		}
		say("  %-12s ready after %d ms, process %d", name, took.Milliseconds(), d.running[name].cmd.Process.Pid)
	}
	ctx, cancel := context.WithTimeoutCause(d.ctx, tripTime, fmt.Errorf("the message was not back after %s", tripTime))
	defer cancel()
	if err := roundTrip(ctx, d); err != nil {
		return err
	}
	if once {
		return nil
	}
	d.in.settings()
	say("\nThe log follows, as it is in %s too. Ctrl-C ends all of this.\n", filepath.Join(d.in.shown, "log"))
	d.log.follow(os.Stdout)
	<-d.ctx.Done()
	if signalled.Err() != nil {
		return nil
	}
	return context.Cause(d.ctx)
}

// orInterrupted gives the true reason of an error that a signal has brought about.
func orInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// say prints a line to the person before the screen.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }
