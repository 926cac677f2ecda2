package policy_test

import (
	"testing"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/filtertest"
	"github.com/posthouse-mail/posthouse/filters/policy"
)

func TestIsAGoodFilter(t *testing.T) {
	filtertest.Run(t, filtertest.Suite{
		New:      func() filters.Filter { return &policy.Filter{Version: "test"} },
		Settings: "[settings]\nrule = [{ name = \"zip\", attachment_name = ['\\.zip$'], sender = ['.'], header = { Subject = ['(a|aa)+$'] }, action = \"quarantine\", add_header = [\"X-Zip: yes\"] }]\n",
		Bad:      []string{"[settings]\nrule = [{ name = \"x\", action = \"perhaps\" }]\n", "[settings]\nrule = [{ name = \"x\", sender = [\"(\"] }]\n"},
	})
}
