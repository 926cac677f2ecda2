package main

import (
	"os"
	"testing"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/mta/smtpd"
)

func TestEachMetricIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("smtpd.8")
	if err != nil {
		t.Fatal(err)
	}
	mtatest.WantMetrics(t, page, collectors(&builder{metrics: smtpd.NewMetrics()}, new(host.Host))...)
}
