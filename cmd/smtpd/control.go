package main

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"time"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta/daemon"
)

// Of the control socket: whoever connects is told the state, and nobody can change anything by it.
const (
	controlMode    = 0o666
	controlTimeout = 5 * time.Second
)

// listenControl opens run/smtpd/control.sock.
func listenControl(app *daemon.App) (net.Listener, error) {
	return app.Listen("unix:"+filepath.Join(app.Config().Run, "smtpd", "control.sock"), controlMode)
}

// serveControl tells the state of the filters to one after the other, until ctx ends.
func serveControl(ctx context.Context, ln net.Listener, h *host.Host) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			select { // no descriptors, for instance
			case <-time.After(time.Second):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		_ = nc.SetDeadline(time.Now().Add(controlTimeout))
		_ = json.NewEncoder(nc).Encode(struct { // whoever has gone misses it
			Filters []host.Status `json:"filters"`
		}{h.Status()})
		_ = nc.Close()
	}
}
