package host_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/filters/host"
	"github.com/posthouse-mail/posthouse/mta"
)

func TestStatusCountsWhatFiltersDid(t *testing.T) {
	s := newSite(t, "one", "missing")
	s.opt.OnFailure = host.OnFailureAccept
	if err := removeFilter(s, "missing"); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.judge(do("one top a"))
	s.judge(do("one reject no"))
	s.judge(do("one error"))
	f := s.host.Session()
	f.Ask(t.Context(), event(mta.AtConnect))
	f.Ask(t.Context(), event(mta.AtHello))
	f.End()
	all := s.host.Status()
	if len(all) != 2 {
		t.Fatalf("got %d filters", len(all))
	}
	one, missing := all[0], all[1]
	if one.Name != "one" || one.State != "running" || one.Version != "1.0" || one.PID == 0 || one.Restarts != 0 || one.P50 <= 0 || one.P99 < one.P50 {
		t.Errorf("got %+v", one)
	}
	if c := one.Stages["message"]; c.Calls != 3 || c.Failures != 1 {
		t.Errorf("at message: got %+v, want 3 calls and a failure", c)
	}
	if c := one.Stages["connect"]; c.Calls != 1 {
		t.Errorf("at connect: got %+v, want a call", c)
	}
	if _, asked := one.Stages["hello"]; asked {
		t.Error("the filter was asked at hello, which it does not want")
	}
	if one.Verdicts["reject"] != 1 || one.Verdicts["edit"] != 1 {
		t.Errorf("got the verdicts %v", one.Verdicts)
	}
	if missing.State != "down" || missing.Error == "" || missing.Restarts == 0 {
		t.Errorf("got %+v", missing)
	}
	if b, err := json.Marshal(missing); err != nil || !strings.Contains(string(b), `"verdicts":{}`) {
		t.Errorf("got %s, %v; want verdicts where there are none too, for who reads it", b, err)
	}
}
