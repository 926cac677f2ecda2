package dmarc_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dmarc"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New: func() filters.Filter { return &dmarc.Filter{Version: "test"} },
		Bad: []string{"[settings]\non_reject = \"perhaps\"\n", "[settings]\nreport_from = \"nobody\"\n"},
	})
}
