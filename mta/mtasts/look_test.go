package mtasts_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/posthouse-mail/posthouse/mta/dns"
	"github.com/posthouse-mail/posthouse/mta/mtasts"
)

// What is published now is told as it is, whatever is kept, and what has run out or says none too.
func TestLook(t *testing.T) {
	w := newWorld(t, "mta-sts.d.test")
	w.serve(serve("text/plain", enforce))
	w.record("v=STSv1; id=1")
	w.expect("kept", mtasts.Enforce, nil, 1)
	for _, c := range []struct {
		what, record string
		h            http.HandlerFunc
		records      int
		id           string
		mode         mtasts.Mode
		want         error
	}{
		{"no record", "", nil, 0, "", "", dns.ErrNotFound},
		{"another's record", "v=spf1 -all", nil, 0, "", "", nil},
		{"no id", "v=STSv1", nil, 1, "", "", nil},
		{"not found", "v=STSv1; id=1", http.NotFound, 1, "1", "", mtasts.ErrFetch},
		{"no policy", "v=STSv1; id=1", serve("text/plain", "hello"), 1, "1", "", mtasts.ErrInvalid},
		{"another policy", "v=STSv1; id=1", serve("text/plain", strings.Replace(enforce, "enforce", "testing", 1)), 1, "1", mtasts.Testing, nil},
		{"none", "v=STSv1; id=1", serve("text/plain", strings.Replace(enforce, "enforce", "none", 1)), 1, "1", mtasts.None, nil},
		{"run out", "v=STSv1; id=2", serve("text/plain", strings.Replace(enforce, "86400", "0", 1)), 1, "2", mtasts.Enforce, nil},
	} {
		w.record(c.record)
		w.serve(c.h)
		p, err := mtasts.Look(t.Context(), w.opt, "d.test")
		mode := mtasts.Mode("")
		if p.Policy != nil {
			mode = p.Policy.Mode
		}
		if len(p.Records) != c.records || p.ID != c.id || mode != c.mode || !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v; want %d records, id %q, mode %q, %v", c.what, p, err, c.records, c.id, c.mode, c.want)
		}
	}
	w.zone.Rcode("_mta-sts.d.test", wire.RcodeServerFailure)
	if p, err := mtasts.Look(t.Context(), w.opt, "d.test"); err == nil || dns.Permanent(err) || p.Records != nil {
		t.Errorf("a record that cannot be looked up: got %+v, %v", p, err)
	}
	w.zone.Rcode("_mta-sts.d.test", wire.RcodeSuccess)
	w.record("v=STSv1; id=1")
	w.expect("what was kept has stayed", mtasts.Enforce, nil, 0)
}
