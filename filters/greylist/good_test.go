package greylist_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/greylist"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New:       func() filters.Filter { return &greylist.Filter{Version: "test"} },
		Remembers: true,
	})
}
