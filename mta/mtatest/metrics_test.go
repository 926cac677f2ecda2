package mtatest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestManualPagesAreHeldAgainstMetrics(t *testing.T) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthouse_x_mails_total", Help: "Mails."}, []string{"a", "b"})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "posthouse_x_open", Help: "Open ones."})
	for page, want := range map[string]string{
		".It Li posthouse_x_mails_total\n.It Li posthouse_x_open\n":                                    "",
		".It Li posthouse_x_mails_total , posthouse_x_open\n":                                          "",
		".It Li posthouse_x_mails_total\n.It Li posthouse_x_open\n.It Li posthouse_y_closed\n":         "", // another program's
		".It Li posthouse_x_mails_total\nposthouse_x_open\n":                                           "posthouse_x_open is not in the manual page",
		".It Li posthouse_x_mails_total\n.It Li posthouse_x_opened\n.It Li posthouse_x_open\n":         "names posthouse_x_opened, which does not exist",
		".It Li posthouse_x_mails\n.It Li posthouse_x_mails_total\n.It Li posthouse_x_open\n":          "names posthouse_x_mails, which does not exist",
		".It Li posthouse_x_mails_total\n.It Li a_posthouse_x_open\n.It Li posthouse_x_open_seconds\n": "",
	} {
		v := judge(t, func(t testing.TB) { WantMetrics(t, []byte(page), counter, gauge) })
		if page == ".It Li posthouse_x_mails_total\n.It Li a_posthouse_x_open\n.It Li posthouse_x_open_seconds\n" {
			if len(v.said) != 2 {
				t.Errorf("%q: it says %q, want that one is missing and one is too much", page, v.said)
			}
			continue
		}
		v.want(t, page, want, false)
	}
	judge(t, func(t testing.TB) { MetricNames(t) }).want(t, "no collector", "got no metrics", true)
}

func TestValue(t *testing.T) {
	r := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c", Help: "C."}, []string{"b", "a"})
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Help: "H."})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g", Help: "G."})
	r.MustRegister(counter, histogram, gauge)
	counter.WithLabelValues("of b", "of a").Add(3)
	counter.WithLabelValues("of a", "of b").Add(4)
	histogram.Observe(7)
	histogram.Observe(8)
	gauge.Set(-2)
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{{"c", []string{"of a", "of b"}, 3}, {"c", []string{"of b", "of a"}, 4}, {"h", nil, 2}, {"g", nil, -2}} {
		if got := Value(t, r, c.name, c.labels...); got != c.want {
			t.Errorf("%s %q: got %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	for name, labels := range map[string][]string{"c": {"of a"}, "g": {""}, "none": nil} {
		judge(t, func(t testing.TB) { Value(t, r, name, labels...) }).want(t, name, "there is no "+name, false)
	}
}
