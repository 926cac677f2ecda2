package main

import (
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta/daemon"
)

// watched serves the metrics, and says what it is to be well.
func watched(app *daemon.App, b *builder, judges *host.Host) error {
	spool := app.Config().Spool.Path
	app.OnHealth("spool", func() error { return daemon.Writable(filepath.Join(spool, "tmp")) })
	app.OnHealth("room", func() error { return b.room.Load().check() })
	return app.ServeMetrics(collectors(b, judges)...)
}

// collectors are all metrics that are smtpd's own.
func collectors(b *builder, judges *host.Host) []prometheus.Collector {
	return []prometheus.Collector{
		b.metrics,
		judges,
		daemon.NewCertificateExpiry("posthouse_smtpd", func() (at time.Time) {
			if s := b.tls.Load(); s != nil {
				at = s.Expires()
			}
			return at
		}),
	}
}
