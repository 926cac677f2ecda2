package runner

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta/control"
)

// Metrics counts what the runner does, for /metrics; queue-runner(8) describes each. It is safe for use by many
// goroutines. What a queue holds is counted every mta.QueueStatusEvery, beside the status: who asks more often sees the
// same. No label has a value that comes from mail.
type Metrics struct {
	recipients                              *prometheus.CounterVec
	finished, expanded, dropped             prometheus.Counter
	reported                                *prometheus.CounterVec
	delivery                                *prometheus.HistogramVec
	transaction                             prometheus.Histogram
	deaths                                  prometheus.Counter
	local, remote, discarded, nobody        ends
	localTime, remoteTime                   prometheus.Observer
	messages, oldest, sites, trans, running *prometheus.Desc
	stalled                                 *prometheus.Desc

	last atomic.Pointer[census]
}

// ends are the counters of recipients that were tried in one way.
type ends struct{ delivered, deferred, failed prometheus.Counter }

// Ages of messages, from when they came in, as labels.
var ages = [...]struct {
	below time.Duration
	label string
}{{5 * time.Minute, "0-5m"}, {time.Hour, "5m-1h"}, {4 * time.Hour, "1h-4h"}, {24 * time.Hour, "4h-1d"}, {1 << 62, "1d-"}}

// statusSite is where messages stand that wait for a site which is dead, or full.
const statusSite = "waiting"

var statuses = [...]string{control.StatusNew, control.StatusActive, control.StatusDeferred, statusSite, control.StatusLater, control.StatusHeld}

// The states of sites.
var siteStates = []string{control.DestUp, control.DestUnknown, control.DestFailing, control.DestTrial, control.DestDead}

// census is what there was at one moment.
type census struct {
	messages [len(statuses)][len(ages)]int
	oldest   [len(statuses)]time.Time
	sites    map[string]int
	queued   int // transactions
	remote   int
	visiting int
	stalled  bool
}

// NewMetrics returns counters at zero.
func NewMetrics() *Metrics {
	name := func(s string) string { return "posthouse_queue_" + s }
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
	}
	vector := func(n, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, labels)
	}
	m := &Metrics{
		recipients: vector("recipients_total", "Tries for a recipient, by way and result.", "by", "result"),
		finished:   counter("messages_finished_total", "Messages for which nothing is left to do."),
		expanded:   counter("aliases_expanded_total", "Recipients that were aliases."),
		dropped:    counter("reports_dropped_total", "Reports that nobody could be given."),
		reported:   vector("reports_total", "Recipients that senders were told of, by what became of them.", "of"),
		delivery: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("delivery_seconds"), Help: "From acceptance to delivery, by way.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 43200, 172800},
		}, []string{"by"}),
		transaction: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name("transaction_seconds"), Help: "How long a transaction with other hosts took, connections included.",
			Buckets: []float64{.005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900},
		}),
		deaths:   counter("destinations_died_total", "Times that a destination was found dead."),
		stalled:  prometheus.NewDesc(name("stalled"), "1 while the spool refuses something.", nil, nil),
		messages: prometheus.NewDesc(name("messages"), "Messages in the queue, by status and age.", []string{"status", "age"}, nil),
		oldest:   prometheus.NewDesc(name("oldest_seconds"), "Age of the oldest message, by status.", []string{"status"}, nil),
		sites:    prometheus.NewDesc(name("destinations"), "Destinations that have mail or had some lately, by state.", []string{"state"}, nil),
		trans:    prometheus.NewDesc(name("transactions_waiting"), "Transactions that wait for their turn.", nil, nil),
		running:  prometheus.NewDesc(name("deliveries_running"), "Deliveries under way, by way.", []string{"by"}, nil),
	}
	of := func(by string) ends {
		return ends{m.recipients.WithLabelValues(by, "delivered"), m.recipients.WithLabelValues(by, "deferred"), m.recipients.WithLabelValues(by, "failed")}
	}
	m.local, m.remote, m.discarded, m.nobody = of("local"), of("remote"), of("discard"), of("none")
	m.localTime, m.remoteTime = m.delivery.WithLabelValues("local"), m.delivery.WithLabelValues("remote")
	for _, kind := range []string{"failed", "delayed", "succeeded"} {
		m.reported.WithLabelValues(kind)
	}
	return m
}

// way finds the counters for the name that the log gives to who took a recipient, or did not.
func (m *Metrics) way(by string) *ends {
	switch by {
	case "":
		return &m.nobody
	case byLocal, byProgram:
		return &m.local
	case byDiscard:
		return &m.discarded
	}
	return &m.remote
}

func (m *Metrics) delivered(by string, delay time.Duration) {
	m.way(by).delivered.Inc()
	switch by {
	case byLocal, byProgram:
		m.localTime.Observe(delay.Seconds())
	case byDiscard:
	default:
		m.remoteTime.Observe(delay.Seconds())
	}
}

func (m *Metrics) told(failed, delayed, succeeded int) {
	m.reported.WithLabelValues("failed").Add(float64(failed))
	m.reported.WithLabelValues("delayed").Add(float64(delayed))
	m.reported.WithLabelValues("succeeded").Add(float64(succeeded))
}

// count takes the census. An id tells when its message came in.
func (s *schedule) count(now time.Time) *census {
	c := &census{sites: map[string]int{}, queued: s.queued, remote: s.remote, visiting: s.visiting, stalled: s.troubles() != ""}
	for m, it := range s.items {
		at, n := m.ID().Time(), it.standing(now, s.set.RetryMax)
		age, i := now.Sub(at), 0
		for age >= ages[i].below {
			i++
		}
		c.messages[n][i]++
		if c.oldest[n].IsZero() || at.Before(c.oldest[n]) {
			c.oldest[n] = at
		}
	}
	for _, x := range s.sites {
		c.sites[x.destination(now, s.set.MaxPerDestination).State]++
	}
	return c
}

// standing is where an item stands, as an index of statuses. What waits for longer than any retry has been told to.
func (it *item) standing(now time.Time, retryMax time.Duration) int {
	switch wait := it.due.Sub(now); {
	case it.index < 0 && it.round == nil:
		return 0
	case it.index < 0:
		return 1
	case it.holder != nil:
		return 3
	case wait > forHeld/2:
		return 5
	case wait > retryMax:
		return 4
	}
	return 2
}

// first returns the oldest of all messages, zero where there is none.
func (c *census) first() (at time.Time) {
	for _, t := range c.oldest {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.recipients, m.finished, m.expanded, m.dropped, m.reported, m.delivery, m.transaction, m.deaths}
}

// Describe is prometheus.Collector's.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{m.messages, m.oldest, m.sites, m.trans, m.running, m.stalled} {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
	c := m.last.Load()
	if c == nil {
		return // nothing is known yet
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for i, status := range statuses {
		for j, age := range ages {
			gauge(m.messages, float64(c.messages[i][j]), status, age.label)
		}
		age := 0.0
		if !c.oldest[i].IsZero() {
			age = max(time.Since(c.oldest[i]).Seconds(), 0)
		}
		gauge(m.oldest, age, status)
	}
	for _, state := range siteStates {
		gauge(m.sites, float64(c.sites[state]), state)
	}
	stalled := 0.0
	if c.stalled {
		stalled = 1
	}
	gauge(m.stalled, stalled)
	gauge(m.trans, float64(c.queued))
	gauge(m.running, float64(c.remote), "remote")
	gauge(m.running, float64(c.visiting), "local")
}

var _ prometheus.Collector = (*Metrics)(nil)
