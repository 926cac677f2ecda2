package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Run is the work of a daemon. It returns nil when ctx ended and all work is done; an error ends the process with the
// status that ExitStatus gives it.
type Run func(ctx context.Context, app *App) error

// Main runs the daemon called name and ends the process.
func Main(name string, run Run) {
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more must not stop the mail
	os.Exit(start(name, os.Args[1:], os.Stdout, os.Stderr, run))
}

// MainAsRoot is Main for the one program that needs root.
func MainAsRoot(name string, run Run) {
	Main(name, func(ctx context.Context, app *App) error {
		if os.Geteuid() != 0 {
			return fmt.Errorf("%s does its work as root alone", name)
		}
		return run(ctx, app)
	})
}

// needsRoot is the name under which MainAsRoot runs.
const needsRoot = "posthouse-as-user"

// start is Main without the end of the process.
func start(name string, args []string, stdout, stderr io.Writer, run Run) int {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	check := flags.Bool("check", false, "read the configuration as a start would, say what is wrong, and end")
	version := flags.Bool("version", false, "say the version and end")
	help := flags.BoolP("help", "h", false, "say this and end")
	err := flags.Parse(args)
	switch {
	case err == nil && *help:
		fmt.Fprintf(stdout, "Usage: %s [--config FILE] [--check]\n\n%s\nSee %s(8).\n", name, strings.ReplaceAll(flags.FlagUsages(), "[=true|false]", "             "), name)
		return 0
	case err == nil && *version:
		fmt.Fprintf(stdout, "%s (Posthouse) %s %s\n", name, Version(), runtime.Version())
		return 0
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", name, err, name)
		return ExitUsage
	}
	// From the first moment on: a SIGHUP while files are read is a wish, not the end.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	cfg, err := config.Load(*path)
	switch {
	case err != nil:
		tellFaults(stderr, err)
		return ExitConfig
	case *check:
		return 0
	}
	app := newApp(name, *path, cfg, stderr)
	app.Log.Started(name, Version(), *path)
	err = app.run(run, signals)
	app.Log.Stopped(name, app.tell(err))
	return ExitStatus(err)
}

// tellFaults says why there is no configuration, which would tell how to log: for a reader a line a fault, and for the journal
// the events that they are, with the priority of errors.
func tellFaults(stderr io.Writer, err error) {
	var faults config.Errors
	h, ok := journalHandler(stderr, slog.LevelInfo)
	if !ok || !errors.As(err, &faults) {
		fmt.Fprintln(stderr, err)
		return
	}
	(&App{Log: maillog.New(h)}).tell(faults)
}

// version is for the linker to set; make does.
var version string

// Version is the version of the program: what make has set, else that of the module that it was built from, "devel" where
// the build does not tell.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// run gives the work its context, heeds the signals, and waits for the end of both.
func (a *App) run(run Run, signals <-chan os.Signal) error {
	if os.Geteuid() == 0 && a.Name != needsRoot {
		a.Log.RunsAsRoot(a.Name)
	}
	a.warnings(a.Config())
	syscall.Umask(a.umask())

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		a.watch(signals, cancel, over)
	}()
	err := run(ctx, a)
	a.endMetrics()
	close(over)
	<-watched
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // the work says no more than that it was told to end
	}
	a.closeInherited()
	return err
}

func (a *App) warnings(c *config.Config) {
	for _, w := range c.Warnings() {
		a.Log.ConfigWarning(w)
	}
}

func newApp(name, path string, cfg *config.Config, stderr io.Writer) *App {
	a := &App{Name: name, Path: path, since: time.Now(), notify: sdNotify, exit: os.Exit, ready: make(chan struct{}), inherited: inherit()}
	a.cfg.Store(cfg)
	a.level.Set(level(cfg.Log.Level))
	a.Log = maillog.New(handler(cfg.Log.Format, stderr, &a.level))
	return a
}
