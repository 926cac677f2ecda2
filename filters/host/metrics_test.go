package host_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

func TestMetricsCountCallsByFilterAndStage(t *testing.T) {
	s := newSite(t, "one", "missing")
	s.opt.OnFailure = host.OnFailureAccept
	if err := removeFilter(s, "missing"); err != nil {
		t.Fatal(err)
	}
	h := s.start()
	s.judge(do("one top a"))
	s.judge(do("one reject no"))
	s.judge(do("one error"))
	s.judge(do("one badcode"))
	s.judge(do("one inject"))
	f := h.Session()
	f.Ask(t.Context(), event(mta.AtConnect))
	f.End()
	text := exposed(t, h)
	// "missing" is asked as well, save where "one" has refused.
	for _, line := range []string{
		`up{filter="missing"} 0`, `up{filter="one"} 1`, `restarts_total{filter="one"} 0`,
		`failures_total{filter="missing",stage="message"} 4`, `failures_total{filter="one",stage="connect"} 0`,
		`failures_total{filter="one",stage="message"} 3`, `failures_total{filter="one",stage="recipient"} 0`,
		`verdicts_total{filter="one",stage="connect",verdict="continue"} 1`,
		`verdicts_total{filter="one",stage="message",verdict="edit"} 1`, `verdicts_total{filter="one",stage="message",verdict="reject"} 1`,
		`call_seconds_count{filter="one",stage="message"} 5`, `call_seconds_bucket{filter="one",stage="message",le="60"} 5`,
		`call_seconds_bucket{filter="one",stage="message",le="+Inf"} 5`, `call_seconds_count{filter="missing",stage="message"} 0`,
	} {
		if !strings.Contains(text, "\nposthouse_smtpd_filter_"+line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	if n := strings.Count(text, "\nposthouse_smtpd_filter_verdicts_total{"); n != 3 {
		t.Errorf("got %d kinds of verdicts in\n%s, want 3", n, text)
	}
}

// exposed is what /metrics says of the filters.
func exposed(t *testing.T, h *host.Host) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(h); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestAHostWithoutFiltersHasNoMetricsAndNothingWrongWithThem(t *testing.T) {
	h, err := host.New(t.Context(), newSite(t).opt)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if text := exposed(t, h); text != "" {
		t.Errorf("got %s, want none", text)
	}
}
