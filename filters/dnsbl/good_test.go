package dnsbl_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/dnsbl"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New:      func() filters.Filter { return &dnsbl.Filter{Version: "test"} },
		Settings: "[settings]\nlists = [{ zone = \"bl.example\" }, { zone = \"names.example\", kind = \"domain\" }]\n",
	})
}
