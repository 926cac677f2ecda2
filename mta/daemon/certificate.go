package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificateExpiry tells when the first certificate of a daemon ends.
type certificateExpiry struct {
	desc    *prometheus.Desc
	expires func() time.Time
}

// NewCertificateExpiry returns the metric PREFIX_certificate_expires_timestamp_seconds. Where expires returns the zero
// time there is no certificate, and no metric.
func NewCertificateExpiry(prefix string, expires func() time.Time) prometheus.Collector {
	name := prometheus.BuildFQName(prefix, "", "certificate_expires_timestamp_seconds")
	return certificateExpiry{prometheus.NewDesc(name, "When the first of the certificates ends.", nil, nil), expires}
}

// Describe is prometheus.Collector's.
func (c certificateExpiry) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect is prometheus.Collector's.
func (c certificateExpiry) Collect(ch chan<- prometheus.Metric) {
	if at := c.expires(); !at.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(at.Unix()))
	}
}
