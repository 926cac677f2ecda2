package pop3d

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the server does, for /metrics; pop3d(8) describes each. It is safe for use by many goroutines.
type Metrics struct {
	connections, sessions                             prometheus.Gauge
	accepted, refused, tlsFailed                      prometheus.Counter
	logins, commands, ends                            *prometheus.CounterVec
	retrieved, deleted, undeleted, unreadable, octets prometheus.Counter
	opening                                           prometheus.Histogram
}

// NewMetrics returns counters at zero.
func NewMetrics() *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "posthouse_pop3d_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "posthouse_pop3d_" + name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthouse_pop3d_" + name, Help: help}, labels)
	}
	return &Metrics{
		connections: gauge("connections", "Connections that are open."),
		sessions:    gauge("sessions", "Sessions that are logged in."),
		accepted:    counter("connections_total", "Connections that were accepted."),
		refused:     counter("refused_total", "Connections that were over a bound."),
		tlsFailed:   counter("tls_failures_total", "TLS handshakes that failed."),
		logins:      vector("logins_total", "Logins, by mechanism and result.", "mech", "result"),
		commands:    vector("commands_total", "Commands that were carried out, by keyword.", "command"),
		ends:        vector("sessions_ended_total", "Sessions that have ended, by the way in which they did.", "by"),
		retrieved:   counter("messages_retrieved_total", "Messages that RETR has sent whole."),
		deleted:     counter("messages_deleted_total", "Messages that QUIT has removed."),
		undeleted:   counter("messages_not_deleted_total", "Marked messages that QUIT could not remove."),
		unreadable:  counter("messages_unreadable_total", "Messages that could not be read, or were removed by another program."),
		octets:      counter("sent_octets_total", "Octets that were sent, before TLS."),
		opening: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "posthouse_pop3d_mailbox_open_seconds", Help: "How long it took to lock and list a mailbox at login.",
			Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 30},
		}),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.connections, m.sessions, m.accepted, m.refused, m.tlsFailed, m.logins, m.commands, m.ends, m.retrieved,
		m.deleted, m.undeleted, m.unreadable, m.octets, m.opening}
}

// Describe is prometheus.Collector's.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect is prometheus.Collector's.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

var _ prometheus.Collector = (*Metrics)(nil)
