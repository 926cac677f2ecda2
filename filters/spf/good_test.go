package spf_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/spf"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New: func() filters.Filter { return &spf.Filter{Version: "test"} },
		Bad: []string{"[settings]\nreject = [\"no\"]\n", "[settings]\nskip = [\"x\"]\n"},
	})
}
