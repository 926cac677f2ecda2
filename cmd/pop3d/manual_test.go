package main

import (
	"os"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/daemon"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
	"github.com/posthouse-mail/posthouse/pop3d"
)

func TestEachMetricIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("pop3d.8")
	if err != nil {
		t.Fatal(err)
	}
	mtatest.WantMetrics(t, page, pop3d.NewMetrics(), daemon.NewCertificateExpiry("posthouse_pop3d", nil))
}
