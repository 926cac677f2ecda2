package daemon

import (
	"os"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// CommandLog is the log of a command that a timer runs: it goes where a daemon's would.
func CommandLog(c config.Log) *maillog.Log {
	return maillog.New(handler(c.Format, os.Stderr, level(c.Level)))
}
