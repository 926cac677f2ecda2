package spf_test

import (
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/spf"
)

func TestCost(t *testing.T) {
	eleven := "v=spf1" + strings.Repeat(" a:h.test", spf.MaxTerms+1) + " -all"
	for record, want := range map[string]struct {
		terms int
		lost  string
	}{
		"v=spf1 include:it.test include:it.test -all": {40, ""}, // the hostile first: it ends
		"v=spf1 include:none.test include:bad.test":   {2, "none.test bad.test"},
		"v=spf1 include:%{d}.x.test -all":             {1, ""},
		"v=spf1 frobnicate":                           {0, "it.test"},
		"v=spf1 include:later.test -all":              {1, ""},
		eleven:                                        {11, ""},
		"v=spf1 include:eleven.test mx -all":          {13, ""},
		"v=spf1 mx -all include:eleven.test":          {1, ""},
		"v=spf1 +all redirect=eleven.test":            {0, ""},
		"v=spf1 ip4:192.0.2.1 redirect=eleven.test":   {12, ""},
		"v=spf1 ip6:2001:db8::/32 exists:x.test ptr":  {2, ""},
	} {
		z := suiteZone{"it.test": {{"TXT", record}}, "eleven.test": {{"TXT", eleven}}, "bad.test": {{"TXT", "v=spf1 x"}}, "none.test": {{"A", "192.0.2.1"}}, "later.test": {{"TIMEOUT"}}}
		if u := spf.Cost(t.Context(), z, "it.test"); u.Terms != want.terms || strings.Join(u.Lost, " ") != want.lost {
			t.Errorf("%s: got %+v, want %+v", record, u, want)
		}
	}
}
