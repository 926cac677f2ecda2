package milter_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon/daemontest"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/milter"
)

func TestIsAGoodFilter(t *testing.T) {
	m := fake{says: map[byte]string{'E': packet('h', "X-Seen\x00yes\x00") + packet('c', "")}}
	filtertest.Run(t, filtertest.Suite{
		New:      func() filters.Filter { return &milter.Filter{Version: "test"} },
		Settings: "[settings]\naddress = \"" + daemontest.Serve(t, "unix", m.serve) + "\"\n",
		Bad:      []string{"[settings]\naddress = \"inet:1@here\"\n", "[settings]\nearly = \"no\"\n"},
	})
}
