package smtpd

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta"
)

func TestRefusalsAreSortedByTheirReason(t *testing.T) {
	for _, c := range []struct {
		code           int
		enhanced, want string
	}{
		{550, "garbage", "other"}, // a filter's
		{550, "", "other"},
		{550, "5.", "other"},
		{501, "", "syntax"},
		{503, "5.5.1", "sequence"},
		{550, "5.1.1", "unknown-recipient"},
		{550, "5.7.1", "policy"},
		{450, "4.7.1", "policy"},
		{530, "5.7.0", "login-or-tls-needed"},
		{552, "5.3.4", "size"},
		{452, "4.3.1", "no-room"},
		{452, "4.5.3", "no-room"},
		{451, "4.3.0", "system"},
		{451, "4.4.3", "lookup"},
		{550, "5.6.0", "content"},
		{535, "5.7.8", "credentials"},
		{421, "4.3.2", "closing"},
	} {
		if got := refusal(mta.Reply{Code: c.code, Enhanced: c.enhanced}); got != c.want {
			t.Errorf("%d %s: got %s, want %s", c.code, c.enhanced, got, c.want)
		}
	}
}

// series is how many there are of a metric.
func series(c prometheus.Collector) (n int) {
	ch := make(chan prometheus.Metric)
	go func() {
		defer close(ch)
		c.Collect(ch)
	}()
	for range ch {
		n++
	}
	return n
}

func TestNoClientChoosesALabel(t *testing.T) {
	m := NewMetrics()
	known := series(m.commands)
	for _, verb := range []string{"", "X", "GET", "\xff\xfe", "mail"} {
		m.answered(verb, mta.Reply{Code: 500, Enhanced: "5.5.1"})
	}
	if got := series(m.commands); got != known {
		t.Errorf("got %d series of commands, want the %d there were", got, known)
	}
	if got := series(m.refused); got != 1 {
		t.Errorf("got %d series of refusals, want 1", got)
	}
}

func BenchmarkAnsweredCommand(b *testing.B) {
	m := NewMetrics()
	b.ReportAllocs()
	for b.Loop() {
		m.answered("RCPT", mta.Reply{Code: 250})
	}
}
