// Command pop3d lets users fetch and delete the mail of their mailboxes over POP3; pop3d(8) describes it.
package main

import (
	"context"
	"net"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/pop3d"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--session" {
		os.Exit(session())
	}
	daemon.Main("posthouse-pop3d", run)
}

func run(ctx context.Context, app *daemon.App) error {
	b := newBuilder(app.Path, app.Config(), app.Log)
	defer b.users.Close()
	opt, err := b.options(app.Config())
	if err != nil {
		return err
	}
	defer b.people.Close()
	server := pop3d.New(opt)
	app.OnReload(func(c *config.Config) error {
		opt, err := b.options(c)
		if err == nil {
			server.SetOptions(opt)
		}
		return err
	})
	if err := app.ServeMetrics(b.metrics, daemon.NewCertificateExpiry("posthouse_pop3d", b.expires)); err != nil {
		return err
	}
	listeners, err := listen(app)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error { return server.Serve(ctx, l.Listener, l.mode) })
	}
	g.Go(app.Ready)
	return g.Wait()
}

// listener is a socket that is open, and how TLS is spoken there.
type listener struct {
	net.Listener
	mode pop3d.TLSMode
}

// listen opens the sockets of the configuration, all or none. Those for implicit TLS stay closed without a certificate.
func listen(app *daemon.App) ([]listener, error) {
	c := app.Config()
	var all []listener
	for _, l := range c.POP3D.Listen {
		mode := tlsMode(l.TLS)
		if mode == pop3d.Implicit && c.TLS.Certificate == "" {
			app.Decline(l.Address)
			continue
		}
		ln, err := app.Listen(l.Address, 0)
		if err != nil {
			for _, open := range all {
				_ = open.Close()
			}
			return nil, err
		}
		all = append(all, listener{ln, mode})
	}
	if len(all) == 0 {
		return nil, config.Errors{{File: app.Path, Line: 1, Key: "pop3d.listen", Msg: "no socket to listen on; allowed: one [[pop3d.listen]] or more, those with tls = \"implicit\" only beside a [tls] certificate"}}
	}
	return all, nil
}

func tlsMode(s string) pop3d.TLSMode {
	switch s {
	case "implicit":
		return pop3d.Implicit
	case "none":
		return pop3d.NoTLS
	}
	return pop3d.StartTLS
}
