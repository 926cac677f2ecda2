package host

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The metrics of filters; smtpd(8) describes each.
var (
	upDesc       = desc("up", "1 while the filter is at work, 0 while it is down or starting.", "filter")
	restartsDesc = desc("restarts_total", "How often the filter had to be started again.", "filter")
	failuresDesc = desc("failures_total", "Calls that gave no usable verdict, and those that could not be made.", "filter", "stage")
	verdictsDesc = desc("verdicts_total", "Verdicts.", "filter", "stage", "verdict")
	secondsDesc  = desc("call_seconds", "How long calls took.", "filter", "stage")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("posthouse_smtpd_filter_"+name, help, labels, nil)
}

// Describe is for prometheus.Collector.
func (h *Host) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{upDesc, restartsDesc, failuresDesc, verdictsDesc, secondsDesc} {
		all <- d
	}
}

// Collect is for prometheus.Collector: each enabled filter, and of it the stages that it wants or was asked at.
func (h *Host) Collect(all chan<- prometheus.Metric) {
	for _, s := range *h.chain.Load() {
		s.collect(all)
	}
}

func (s *slot) collect(all chan<- prometheus.Metric) {
	s.mu.Lock()
	up, restarts, known := 0.0, s.restarts, s.known
	if s.proc != nil || s.swapping {
		up = 1
	}
	s.mu.Unlock()
	all <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, up, s.name)
	all <- prometheus.MustNewConstMetric(restartsDesc, prometheus.CounterValue, float64(restarts), s.name)
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	for stage, word := range stageNames {
		t := &s.counters.at[stage]
		if t.calls+t.failures > 0 || known != nil && known.info.stages[stage] {
			t.collect(all, s.name, word)
		}
	}
}

func (t *tally) collect(all chan<- prometheus.Metric, filter, stage string) {
	all <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(t.failures), filter, stage)
	for verdict, n := range t.verdicts {
		all <- prometheus.MustNewConstMetric(verdictsDesc, prometheus.CounterValue, float64(n), filter, stage, verdict)
	}
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, n := range t.buckets {
		sum += n
		buckets[bounds[i]] = sum
	}
	all <- prometheus.MustNewConstHistogram(secondsDesc, t.calls, t.seconds, buckets, filter, stage)
}
