package route_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/route"
)

func TestExplanationsSayWhatRouteDecidesAndWhy(t *testing.T) {
	o := options(t)
	o.SmartHost = mta.Destination{Host: "smart.test"}
	r, err := route.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to, address, domain, via, way string
		code                          int // of the acceptance, 0 = accepted
		ours                          bool
	}{
		{"x@down.test", "x@down.test", "", "", "smart_host", 0, false},
		{"nobody@example.test", "nobody@example.test", "example.test", "", "", 550, true},
		{"down@example.test", "down@example.test", "example.test", "", "", 451, true},
		{"Alice@AKA.test", "Alice@example.test", "example.test", "the user alice@example.test", "", 0, true},
		{"alice+lists@example.test", "alice+lists@example.test", "example.test", "the user alice@example.test", "", 0, true},
		{"team@example.test", "team@example.test", "example.test", "the aliases file ", "", 0, true},
		{"fwd@example.test", "fwd@example.test", "example.test", "forward= of the user fwd@example.test", "", 0, true},
		{"any@other.test", "any@other.test", "other.test", "catch_all", "", 0, true},
		{"postmaster@xn--bcher-kva.test", "postmaster@xn--bcher-kva.test", "xn--bcher-kva.test", "the last resort of postmaster", "", 0, true},
		{"known@backup.test", "known@backup.test", "backup.test", "", "mx", 0, true},
		{"stranger@backup.test", "stranger@backup.test", "backup.test", "", "mx", 550, true},
		{"x@partner.test", "x@partner.test", "", "", "route partner.test", 0, false},
		{"x@sub.partner.test", "x@sub.partner.test", "", "", "route .partner.test", 0, false},
		{"x@later.test", "x@later.test", "", "", "route later.test", 450, false},
	} {
		x := r.Explain(t.Context(), addr(c.to))
		domain := ""
		if x.Domain != nil {
			domain = x.Domain.Name
		}
		if x.Address != addr(c.address) || domain != c.domain || !strings.HasPrefix(x.Via, c.via) || (x.Via == "") != (c.via == "") ||
			x.Accept.Reply.Code != c.code || x.Accept.Ours != c.ours || show(x.Decision) != show(r.Route(t.Context(), addr(c.to))) {
			t.Errorf("%s: got %+v, want %+v", c.to, x, c)
		}
		if c.way != "" && r.Way(addr(c.to)) != c.way {
			t.Errorf("%s: got way %q, want %q", c.to, r.Way(addr(c.to)), c.way)
		}
	}
}
