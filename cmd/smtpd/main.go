// Command smtpd is the way in for all mail: from other hosts, from users' mail programs, and from this machine's sendmail
// command. It puts messages into the spool and delivers nothing; smtpd(8) describes it.
package main

import (
	"context"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
	"github.com/posthouse-mail/posthouse/mta/spool"
)

// rotateEvery is how often an idle writer looks whether its segment is due.
const rotateEvery = time.Second

func main() { daemon.Main("posthouse-smtpd", run) }

func run(ctx context.Context, app *daemon.App) error {
	c := app.Config()
	if err := ensureDirs(app, c); err != nil {
		return err
	}
	boot, err := spool.BootID()
	if err != nil {
		return err
	}
	trigger := spool.NewTrigger(c.Spool.Path)
	defer trigger.Close()
	writer := spool.OpenWriter(durable.OS{}, c.Spool.Path, spool.WriterOptions{Boot: boot, Notify: trigger.Poke})
	defer writer.Close()

	b := newBuilder(app.Path, c, app.Log, writer)
	defer b.users.Close()
	opt, err := b.options(c)
	if err != nil {
		return err
	}
	defer b.people.Close()
	ratesFile := filepath.Join(c.State, "smtpd", "rates.json")
	if err := b.rates.Load(ratesFile); err != nil {
		app.Log.StateFailed(ratesFile, err)
	}
	judges, err := startFilters(ctx, app)
	if err != nil {
		return err
	}
	defer judges.Close()
	opt.Filters = filters{judges}
	server := smtpd.New(opt)
	app.OnReload(func(c *config.Config) error {
		opt, err := b.options(c)
		if err == nil {
			opt.Filters = filters{judges}
			server.SetOptions(opt)
		}
		return err
	})
	app.OnHealth("listeners", server.Accepting)
	if err := watched(app, b, judges); err != nil {
		return err
	}
	listeners, err := listen(app)
	if err != nil {
		return err
	}
	control, err := listenControl(app)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveControl(ctx, control, judges) })
	g.Go(func() error { return server.Serve(ctx, listeners...) })
	g.Go(func() error { return rotate(ctx, writer) })
	g.Go(func() error { return keepRates(ctx, b.rates, ratesFile, app.Log) })
	g.Go(app.Ready)
	err = g.Wait()
	saveRates(b.rates, ratesFile, app.Log)
	return err
}

// ensureDirs makes what a private instance lacks.
func ensureDirs(app *daemon.App, c *config.Config) error {
	dirs := []string{c.Spool.Path, filepath.Join(c.Run, "smtpd"), filepath.Join(c.State, "smtpd")}
	for _, l := range c.SMTPD.Listen {
		if network, path, err := config.SplitListen(l.Address); err == nil && network == "unix" {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if err := app.EnsureDirs(dirs...); err != nil || !app.Private() {
		return err
	}
	return spool.MakeDirs(durable.OS{}, c.Spool.Path)
}

// rotate closes segments that nobody writes to any more, so that queue-runner can reclaim them.
func rotate(ctx context.Context, w *spool.Writer) error {
	t := time.NewTicker(rotateEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			w.Rotate()
		case <-ctx.Done():
			return nil
		}
	}
}
