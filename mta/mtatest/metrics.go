package mtatest

import (
	"regexp"
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

// WantMetrics holds a manual page against the metrics that collectors describe: each must stand there.
func WantMetrics(t testing.TB, page []byte, all ...prometheus.Collector) {
	t.Helper()
	for _, name := range MetricNames(t, all...) {
		if !regexp.MustCompile(`(?m)^\.It Li .*\b` + name + `( |$)`).Match(page) {
			t.Errorf("%s is not in the manual page", name)
		}
	}
}
