// Command queue-runner owns the spool: it takes every accepted message to its mailboxes or to the next host, tries again
// what had to wait, and reports what failed; queue-runner(8) describes it.
package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/control"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/local"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

func main() { daemon.Main("posthouse-queue-runner", run) }

func run(ctx context.Context, app *daemon.App) error {
	c := app.Config()
	if err := ensureDirs(app, c); err != nil {
		return err
	}
	boot, err := spool.BootID()
	if err != nil {
		return err
	}
	woken, ready := make(chan struct{}, 1), make(chan struct{})
	w := spool.OpenWriter(durable.OS{}, c.Spool.Path, spool.WriterOptions{Boot: boot, Notify: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	defer w.Close()
	tls, err := openTransport(c, w, app.Log)
	if err != nil {
		return err
	}
	b := &builder{path: app.Path, spool: c.Spool.Path, log: app.Log, tls: tls, metrics: newMetrics(c.Spool.Path), quotas: local.NewQuotas(durable.OS{}), turns: newTurns()}
	defer b.users.Close()
	set, err := b.settings(c)
	if err != nil {
		return err
	}
	defer b.people.Close()
	defer b.replace(nil)
	store, err := open(app, c, boot)
	if err != nil {
		return err
	}
	defer store.Close()
	r := runner.New(store, app.Log, set)
	expire := &expirer{log: app.Log}
	defer expire.users.Close()
	expire.cfg.Store(c)
	app.OnReload(func(c *config.Config) error {
		set, err := b.settings(c)
		if err == nil {
			r.Reload(set)
			expire.cfg.Store(c)
		}
		return err
	})
	if err := watched(app, b.metrics, r); err != nil {
		return err
	}
	answer, err := controlSocket(app, c, control.NewServer(store, r))
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return spool.ListenTrigger(ctx, c.Spool.Path, woken) })
	g.Go(func() error { return tls.sts.Run(ctx) })
	g.Go(func() error { return tls.results.Run(ctx) })
	g.Go(func() error { return expire.run(ctx) })
	g.Go(func() error { return r.Run(ctx, woken, func() { close(ready) }) })
	g.Go(func() error {
		select {
		case <-ready:
			return app.Ready()
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error { return answer(ctx) })
	return g.Wait()
}

// controlSocket opens the socket that operators ask.
func controlSocket(app *daemon.App, c *config.Config, s *control.Server) (serve func(context.Context) error, err error) {
	ln, err := app.Listen("unix:"+filepath.Join(c.Run, "queue", control.SocketName), control.SocketMode)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return s.Serve(ctx, ln) }, nil
}

// exitNewer is the status where only a later version can read the spool: another try would find the same.
const exitNewer = 65

// open takes the spool. Another queue-runner may be about to end: trying again later is all there is to do.
func open(app *daemon.App, c *config.Config, boot string) (*spool.Store, error) {
	store, err := spool.Open(spool.Options{FS: durable.OS{}, Root: c.Spool.Path, Boot: boot, Log: app.Log, Readers: 4 * runtime.GOMAXPROCS(0)})
	switch {
	case errors.Is(err, spool.ErrRunning):
		err = fmt.Errorf("%w: %w", err, syscall.EAGAIN)
	case errors.Is(err, mta.ErrNewer):
		err = daemon.WithStatus(err, exitNewer)
	}
	return store, err
}

// ensureDirs makes what a private instance lacks. Mailboxes are made at their first delivery.
func ensureDirs(app *daemon.App, c *config.Config) error {
	err := app.EnsureDirs(c.Spool.Path, filepath.Join(c.Run, "queue"), filepath.Join(c.State, "queue"))
	if err != nil || !app.Private() {
		return err
	}
	return spool.MakeDirs(durable.OS{}, c.Spool.Path)
}
