package main

import (
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/tlsrpt"
)

func TestEachMetricIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("queue-runner.8")
	if err != nil {
		t.Fatal(err)
	}
	mtatest.WantMetrics(t, page, newMetrics(t.TempDir()).all()...)
}

type sessions []tlsrpt.Session

func (s *sessions) Session(x tlsrpt.Session) { *s = append(*s, x) }

func TestTLSIsCountedByPolicyAndHandedOn(t *testing.T) {
	m, next := newMetrics(t.TempDir()), &sessions{}
	w := tlsWatcher{next, m.tls}
	bad := &tlsrpt.Failure{Type: tlsrpt.NoSTARTTLS}
	w.Session(tlsrpt.Session{Level: tlsrpt.Authenticated, Usable: true, Results: []tlsrpt.Result{{Policy: tlsrpt.Policy{Type: tlsrpt.PolicyTLSA}}, {Policy: tlsrpt.Policy{Type: tlsrpt.PolicySTS}}}})
	w.Session(tlsrpt.Session{Results: []tlsrpt.Result{{Policy: tlsrpt.Policy{Type: tlsrpt.PolicySTS}, Failure: bad}}})
	w.Session(tlsrpt.Session{Level: tlsrpt.Clear, Usable: true, Results: []tlsrpt.Result{{Policy: tlsrpt.Policy{Type: tlsrpt.PolicyNone}, Failure: bad}}})
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m.all()...)
	for _, c := range []struct {
		labels []string
		want   float64
	}{
		{[]string{"dane", "authenticated", "ok"}, 1},
		{[]string{"mta-sts", "authenticated", "ok"}, 1},
		{[]string{"mta-sts", "unusable", "starttls-not-supported"}, 1},
		{[]string{"none", "none", "starttls-not-supported"}, 1},
	} {
		if got := mtatest.Value(t, r, "posthouse_queue_tls_sessions_total", c.labels...); got != c.want {
			t.Errorf("%v: got %v, want %v", c.labels, got, c.want)
		}
	}
	if len(*next) != 3 {
		t.Errorf("got %d sessions behind it, want all 3", len(*next))
	}
	if got := mtatest.Value(t, r, "posthouse_queue_spool_free_octets"); got <= 0 {
		t.Errorf("got %v octets free, want some", got)
	}
}
