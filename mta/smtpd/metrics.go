package smtpd

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta"
)

// Metrics counts what the server does, for /metrics; smtpd(8) describes each. It is safe for use by many goroutines. No
// label has a value that a client chooses.
type Metrics struct {
	connections                 prometheus.Gauge
	accepted, turnedAway        prometheus.Counter
	ends, refused, logins       *prometheus.CounterVec
	tls                         *prometheus.CounterVec
	tlsFailed, faults, discards prometheus.Counter
	answering                   prometheus.Histogram

	commands *prometheus.CounterVec
	verbs    map[string]prometheus.Counter // of commands, so that one costs no more than a look

	messages, rcpts, octets *prometheus.CounterVec
	roles                   map[string]*intake
}

// intake is what came in by a role.
type intake struct{ messages, rcpts, octets prometheus.Counter }

// otherVerb stands for the commands that there are not.
const otherVerb = "other"

// NewMetrics returns counters at zero.
func NewMetrics() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "posthouse_smtpd_" + name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthouse_smtpd_" + name, Help: help}, labels)
	}
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "posthouse_smtpd_connections", Help: "Connections that are open."}),
		accepted:    counter("connections_total", "Connections that were accepted."),
		turnedAway:  counter("refused_total", "Connections that were over a bound."),
		ends:        vector("sessions_ended_total", "Sessions that have ended, by the way in which they did.", "by"),
		commands:    vector("commands_total", "Commands, by keyword.", "command"),
		refused:     vector("commands_refused_total", "Commands that were refused, by keyword and reason.", "command", "reason"),
		logins:      vector("logins_total", "Logins, by mechanism and result.", "mech", "result"),
		tls:         vector("tls_sessions_total", "TLS handshakes that succeeded, by version.", "version"),
		tlsFailed:   counter("tls_failures_total", "TLS handshakes that failed."),
		faults:      counter("faults_total", "Messages that could not be taken for a reason of ours."),
		discards:    counter("messages_discarded_total", "Messages that filters had thrown away."),
		messages:    vector("messages_total", "Messages that were accepted, by role.", "role"),
		rcpts:       vector("recipients_total", "Recipients of the messages that were accepted, by role.", "role"),
		octets:      vector("received_octets_total", "Octets of the messages that were accepted, by role.", "role"),
		answering: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "posthouse_smtpd_acceptance_seconds", Help: "How long a complete message waited for its reply: filters and disk.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		verbs: map[string]prometheus.Counter{}, roles: map[string]*intake{},
	}
	for _, v := range append(strings.Fields(verbs), otherVerb) {
		m.verbs[v] = m.commands.WithLabelValues(strings.ToLower(v))
	}
	for _, r := range []string{mta.RoleMX, mta.RoleSubmission, mta.RoleLocal, mta.RoleLMTP} {
		m.roles[r] = &intake{m.messages.WithLabelValues(r), m.rcpts.WithLabelValues(r), m.octets.WithLabelValues(r)}
	}
	return m
}

// verbs are the commands that there are.
const verbs = "EHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH XCLIENT"

// answered counts a command and its reply, which has no code where the command has answered by itself.
func (m *Metrics) answered(verb string, r mta.Reply) {
	c, known := m.verbs[verb]
	if !known {
		verb = otherVerb
		c = m.verbs[verb]
	}
	c.Inc()
	if r.Code >= 400 {
		m.refused.WithLabelValues(strings.ToLower(verb), refusal(r)).Inc()
	}
}

// took counts a message that is in the spool.
func (m *Metrics) took(e *mta.Envelope) {
	in := m.roles[e.Role]
	if in == nil { // one of the few that the configuration knows
		in = &intake{m.messages.WithLabelValues(e.Role), m.rcpts.WithLabelValues(e.Role), m.octets.WithLabelValues(e.Role)}
	}
	in.messages.Inc()
	in.rcpts.Add(float64(len(e.Rcpts)))
	in.octets.Add(float64(e.Size))
}

// refusal is what a reply refuses for, in a word: by the subject of its enhanced code (RFC 3463 3), filters' replies too.
func refusal(r mta.Reply) string {
	detail := strings.TrimLeft(r.Enhanced, "245")
	switch {
	case r.Code == 503:
		return "sequence"
	case r.Code == 502 || r.Code == 504:
		return "not-available"
	case r.Code == 535 || r.Code == 432:
		return "credentials"
	case r.Code == 421:
		return "closing"
	case detail == ".1.1":
		return "unknown-recipient"
	case detail == ".3.1" || r.Code == 452 && detail == ".5.3":
		return "no-room"
	case detail == ".3.4":
		return "size"
	case detail == ".5.0":
		return "early"
	case detail == ".7.10" || detail == ".7.11" || r.Code == 530 || r.Code == 538:
		return "login-or-tls-needed"
	}
	for _, x := range []struct{ subject, word string }{
		{".1.", "address"}, {".2.", "mailbox"}, {".3.", "system"}, {".4.", "lookup"}, {".5.", "syntax"}, {".6.", "content"}, {".7.", "policy"},
	} {
		if strings.HasPrefix(detail, x.subject) {
			return x.word
		}
	}
	if r.Code == 500 || r.Code == 501 {
		return "syntax"
	}
	return "other"
}

// end is a session's reason to end as a label: "" is QUIT.
func end(reason string) string {
	switch reason {
	case "":
		return "quit"
	case errDraining.Error():
		return "server stopped"
	case errIdle.Error(), errTooLong.Error(), errTooSlow.Error():
		return "timeout"
	case "connection lost", "too many errors", "refused by a filter":
		return reason
	}
	return "other"
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.connections, m.accepted, m.turnedAway, m.ends, m.commands, m.refused, m.logins, m.tls, m.tlsFailed,
		m.faults, m.discards, m.messages, m.rcpts, m.octets, m.answering}
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
