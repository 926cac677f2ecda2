package exec_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/exec"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New:      func() filters.Filter { return &exec.Filter{Version: "test"} },
		Settings: "[settings]\ncommand = [\"/bin/sh\", \"-c\", \"cat >/dev/null; echo add-header X-Recipients: $RECIPIENT_COUNT\"]\n", Bad: []string{"", "[settings]\ncommand = [\"cat\"]\n"},
	})
}
