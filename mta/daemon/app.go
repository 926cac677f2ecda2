package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// App is a running daemon, as its run function sees it. Its methods may be called by many goroutines.
type App struct {
	Name string // of the program
	Path string // of the main configuration file
	Log  *maillog.Log

	cfg    atomic.Pointer[config.Config]
	level  slog.LevelVar
	since  time.Time // when the configuration was read; of the goroutine that reloads
	notify func(state string)
	exit   func(int)
	ready  chan struct{} // closed by the first Ready
	health healthCell
	checks []*check // before ServeMetrics

	mu           sync.Mutex // guards what follows
	reload       []func(*config.Config) error
	inherited    []inherited
	isReady      bool
	closeMetrics func() // nil where none are served
}

// Config is the configuration that is in force. It never changes; a reload makes another one.
func (a *App) Config() *config.Config { return a.cfg.Load() }

// OnReload adds a function that puts a new configuration in force. The functions are called one after the other, never
// two at once, in the order in which they were added; where one returns an error, the old configuration stays in force
// and those before it are called again with the old one.
func (a *App) OnReload(f func(*config.Config) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload = append(a.reload, f)
}

// Ready says, once, that the daemon does its work; a reload that was asked for before is done now. A socket of the service manager that no Listen has asked for is an
// error: mail that comes in there would find nobody.
func (a *App) Ready() error {
	if err := a.unclaimed(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.isReady {
		a.isReady = true
		a.health.ready()
		a.Log.Ready(a.Name)
		a.notify(systemd.SdNotifyReady + "\n" + a.status(""))
		close(a.ready)
	}
	return nil
}

func sdNotify(state string) {
	_, _ = systemd.SdNotify(false, state) // without a service manager there is nobody to tell
}

// watch serves signals and the watchdog until over is closed.
func (a *App) watch(signals <-chan os.Signal, cancel context.CancelFunc, over <-chan struct{}) {
	var tick <-chan time.Time
	if every, err := systemd.SdWatchdogEnabled(false); err == nil && every > 0 {
		t := time.NewTicker(every / 2)
		defer t.Stop()
		tick = t.C
	}
	stopping, pending, ready := false, false, a.ready
	for {
		select {
		case <-over:
			return
		case <-ready:
			if ready = nil; pending && !stopping {
				a.reloadNow()
			}
		case <-tick:
			a.notify(systemd.SdNotifyWatchdog)
		case s := <-signals:
			switch {
			case isReload(s):
				if pending = ready != nil; !pending && !stopping {
					a.reloadNow()
				}
			case stopping:
				a.Log.Interrupted(s.String())
				a.exit(ExitTempFail)
				return
			default:
				stopping = true
				a.health.stop()
				a.Log.Stopping(s.String())
				a.notify(systemd.SdNotifyStopping)
				cancel()
			}
		}
	}
}

// reloadNow reads the configuration again and puts it in force, all of it or nothing.
func (a *App) reloadNow() {
	a.notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
	refused, at := "", time.Now()
	defer func() { a.notify(systemd.SdNotifyReady + "\n" + a.status(refused)) }()
	next, err := config.Load(a.Path)
	if err == nil {
		err = a.apply(next)
	}
	if err != nil {
		err = a.tell(err)
		a.Log.ReloadFailed(a.Path, err)
		refused = fmt.Sprintf("reload of %s refused (%s); ", at.Format(time.DateTime), strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	a.since = at
	a.Log.Reloaded(a.Path)
	a.warnings(next)
}

// status is what `systemctl status` shows beside the state.
func (a *App) status(refused string) string {
	return "STATUS=" + refused + "configuration of " + a.since.Format(time.DateTime) + " in force"
}

// tell logs the faults of a configuration one by one, and returns what is left to say of err.
func (a *App) tell(err error) error {
	var faults config.Errors
	if !errors.As(err, &faults) {
		return err
	}
	for _, p := range faults {
		a.Log.ConfigProblem(p.Where(), p.Key, p.Msg)
	}
	return fmt.Errorf("faults in the configuration: %d", len(faults))
}

func (a *App) apply(next *config.Config) error {
	a.mu.Lock()
	functions := a.reload
	a.mu.Unlock()
	old := a.Config()
	for i, f := range functions {
		err := f(next)
		if err == nil {
			continue
		}
		for _, back := range functions[:i] {
			err = errors.Join(err, back(old))
		}
		return err
	}
	a.cfg.Store(next)
	a.level.Set(level(next.Log.Level))
	return nil
}
