package main_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse-mail/posthouse/pop3d"
)

func TestEachMetricIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("pop3d.8")
	if err != nil {
		t.Fatal(err)
	}
	descriptions, n := make(chan *prometheus.Desc, 100), 0
	pop3d.NewMetrics().Describe(descriptions)
	close(descriptions)
	for d := range descriptions {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())
		if name == nil {
			t.Fatalf("got a description %s without a name", d)
		}
		if n++; !regexp.MustCompile(`(?m)^\.It Li .*\b` + name[1] + `( |$)`).Match(page) {
			t.Errorf("%s is not in pop3d.8", name[1])
		}
	}
	if n == 0 {
		t.Error("got no metrics")
	}
}
