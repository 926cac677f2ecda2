package mtatest

import (
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

// MetricNames returns the names of all metrics that collectors describe; none is a failure.
func MetricNames(t testing.TB, all ...prometheus.Collector) (names []string) {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		for _, c := range all {
			c.Describe(descriptions)
		}
	}()
	for d := range descriptions {
		m := fqName.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("got a description %s without a name", d)
		}
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Fatal("got no metrics")
	}
	return names
}

// WantMetrics holds a manual page against the metrics that collectors describe: each must stand there, and no other that
// begins as the first of them does (posthouse_smtpd_).
func WantMetrics(t testing.TB, page []byte, all ...prometheus.Collector) {
	t.Helper()
	names := MetricNames(t, all...)
	prefix := regexp.MustCompile(`^[a-z0-9]+_[a-z0-9]+_`).FindString(names[0])
	for _, item := range regexp.MustCompile(`(?m)^\.It Li .*$`).FindAll(page, -1) {
		for _, name := range regexp.MustCompile(`\b`+prefix+`[a-z0-9_]+`).FindAllString(string(item), -1) {
			if !slices.Contains(names, name) {
				t.Errorf("the manual page names %s, which does not exist", name)
			}
		}
	}
	for _, name := range names {
		if !regexp.MustCompile(`(?m)^\.It Li .*\b` + name + `( |$)`).Match(page) {
			t.Errorf("%s is not in the manual page", name)
		}
	}
}

// Value returns a metric's value, that of a histogram's count: that of the series whose labels, in the order of their
// names, have these values. Where there is none it fails the test.
func Value(t testing.TB, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if !slices.Equal(have, labels) {
				continue
			}
			switch {
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				return m.GetGauge().GetValue()
			}
			return float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Errorf("there is no %s with the labels %q", name, labels)
	return -1
}
