package main

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

func TestTagIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New:      func() filters.Filter { return &tag{} },
		Settings: "[settings]\nmark = \"*SPAM*\"\n",
		Bad:      []string{"[settings]\nmark = 1\n"},
	})
}
