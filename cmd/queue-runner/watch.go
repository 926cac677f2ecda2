package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/remote"
	"github.com/posthouse-mail/posthouse/mta/runner"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

// metrics are all that are queue-runner's own.
type metrics struct {
	runner *runner.Metrics
	tls    *prometheus.CounterVec
	spool  disk
}

func newMetrics(spool string) *metrics {
	return &metrics{
		runner: runner.NewMetrics(),
		tls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "posthouse_queue_tls_sessions_total", Help: "Connections to domains' mail servers, by policy, protection and result.",
		}, []string{"policy", "protection", "result"}),
		spool: newDisk(spool),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.runner, m.tls, m.spool}
}

// healthTime is how long the schedule may take to answer. It waits for nothing, so that this is long.
const healthTime = 3 * time.Second

// watched serves the metrics, and says what it is to be well.
func watched(app *daemon.App, m *metrics, r *runner.Runner) error {
	spool := app.Config().Spool.Path
	app.OnHealth("queue", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), healthTime)
		defer cancel()
		return r.Health(ctx)
	})
	app.OnHealth("spool", func() error { return daemon.Writable(filepath.Join(spool, "tmp")) })
	return app.ServeMetrics(m.all()...)
}

// tlsWatcher counts what it hands on.
type tlsWatcher struct {
	remote.Watcher
	sessions *prometheus.CounterVec
}

// policies are the kinds of RFC 8460 as labels.
var policies = map[tlsrpt.PolicyType]string{tlsrpt.PolicyTLSA: "dane", tlsrpt.PolicySTS: "mta-sts", tlsrpt.PolicyNone: "none"}

// Session implements remote.Watcher.
func (w tlsWatcher) Session(s tlsrpt.Session) {
	protection := "unusable"
	if s.Usable {
		protection = s.Level.String()
	}
	for _, r := range s.Results {
		result := "ok"
		if r.Failure != nil {
			result = string(r.Failure.Type)
		}
		w.sessions.WithLabelValues(policies[r.Policy.Type], protection, result).Inc()
	}
	w.Watcher.Session(s)
}

// disk tells of the room on the spool's filesystem.
type disk struct {
	path               string
	free, size, inodes *prometheus.Desc
}

func newDisk(path string) disk {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("posthouse_queue_spool_"+name, help, nil, nil)
	}
	return disk{
		path: path, free: desc("free_octets", "Room on the spool's filesystem for who is not root."),
		size: desc("size_octets", "Size of the spool's filesystem."), inodes: desc("free_inodes", "Files that the spool's filesystem has room for."),
	}
}

// Describe is prometheus.Collector's.
func (d disk) Describe(ch chan<- *prometheus.Desc) { ch <- d.free; ch <- d.size; ch <- d.inodes }

// Collect is prometheus.Collector's. Where the filesystem does not answer there is no metric.
func (d disk) Collect(ch chan<- prometheus.Metric) {
	var st unix.Statfs_t
	if unix.Statfs(d.path, &st) != nil {
		return
	}
	for desc, v := range map[*prometheus.Desc]uint64{d.free: st.Bavail * uint64(st.Bsize), d.size: st.Blocks * uint64(st.Bsize)} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v))
	}
	if st.Files > 0 { // some filesystems have no fixed number of them
		ch <- prometheus.MustNewConstMetric(d.inodes, prometheus.GaugeValue, float64(st.Ffree))
	}
}
