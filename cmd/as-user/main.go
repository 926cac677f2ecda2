// Command as-user starts what has to run as another user, for those daemons that may ask for it; as-user(8) describes it.
// It is the only program of Posthouse that needs root, and does nothing else.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/asuser"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
)

func main() {
	if os.Args[0] == becomeName {
		fmt.Fprintln(os.Stderr, become(os.Args[1:]))
		os.Exit(cannotBecome)
	}
	daemon.MainAsRoot("posthouse-as-user", run)
}

func run(ctx context.Context, app *daemon.App) error {
	c := app.Config()
	if err := app.EnsureDirs(filepath.Join(c.Run, "as-user")); err != nil {
		return err
	}
	ln, err := app.Listen("unix:"+filepath.Join(c.Run, "as-user", asuser.SocketName), 0o666)
	if err != nil {
		return err
	}
	if err := confine(); err != nil {
		return fmt.Errorf("give up what is not needed: %w", err)
	}
	unix.Umask(0o077) // of all that is started
	s := newServer(app.Log)
	s.use(c)
	defer s.set.Load().from.Close()
	app.OnReload(func(c *config.Config) error {
		s.use(c)
		return nil
	})
	if err := app.Ready(); err != nil {
		return err
	}
	return s.serve(ctx, ln)
}
