package arc_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/arc"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New: func() filters.Filter { return &arc.Filter{Version: "test"} },
	})
}
