package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/filters/proto"
	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Options are what a Host obeys.
type Options struct {
	Directory string   // of the executables
	Settings  string   // of NAME.toml
	Enabled   []string // in their order
	Timeout   time.Duration
	OnFailure string // OnFailureTempFail or OnFailureAccept
	// StartTimeout bounds the time until the handshake, and that of each call before the first event.
	StartTimeout time.Duration

	ScoreJunk   float64 // 0 = off
	ScoreReject float64 // 0 = off
	Quarantine  string  // QuarantineJunk or QuarantineHold

	Run      string // smtpd's own folder: sockets in plugins/, messages in filters/
	State    string // a folder each for what filters keep
	Spool    string // its tmp/ holds large messages
	Keys     string // of DKIM, for the filter dkim alone
	Launcher string // filter-run; "" starts filters without confinement
	Owner    int    // the user beside root who may own executables and settings; -1 = nobody

	MaxMessageSize int64 // a replaced body's bound
	Site           *proto.Site

	Log *maillog.Log
}

// Values of Options.OnFailure and Options.Quarantine.
const (
	OnFailureTempFail = "tempfail"
	OnFailureAccept   = "accept"
	QuarantineJunk    = "junk"
	QuarantineHold    = "hold"
)

// FromConfig takes from a configuration what concerns filters. In a private instance its user may own them.
func FromConfig(c *config.Config, private bool) (Options, error) {
	f := c.Filters
	o := Options{
		Directory: f.Directory, Settings: f.Settings, Enabled: f.Enabled, Timeout: f.Timeout, OnFailure: f.OnFailure, StartTimeout: startTimeout,
		ScoreJunk: f.ScoreJunk, ScoreReject: f.ScoreReject, Quarantine: f.Quarantine,
		Run: filepath.Join(c.Run, "smtpd"), State: filepath.Join(c.State, "filters"), Spool: c.Spool.Path,
		Keys: filepath.Join(c.State, "keys"), Owner: -1, MaxMessageSize: int64(c.SMTPD.MaxMessageSize), Site: site(c),
	}
	for _, l := range c.SMTPD.Listen {
		o.MaxMessageSize = max(o.MaxMessageSize, int64(l.MaxMessageSize))
	}
	if private {
		o.Owner = os.Geteuid()
	}
	var err error
	if o.Site.SharedStoreUrl, err = c.Shared.URL(); err != nil {
		return o, fmt.Errorf("shared.redis_url_file: %w", err)
	}
	return o, nil
}

func site(c *config.Config) *proto.Site {
	s := &proto.Site{Hostname: c.Hostname, AuthservId: c.Hostname}
	for name := range c.Domains {
		s.LocalDomains = append(s.LocalDomains, name)
	}
	slices.Sort(s.LocalDomains)
	for _, l := range c.SMTPD.Listen {
		if network, path, err := config.SplitListen(l.Address); err == nil && network == "unix" && l.Role == mta.RoleLocal && s.SubmitSocket == "" {
			s.SubmitSocket = path
		}
	}
	for _, name := range s.LocalDomains {
		for _, sel := range c.Domains[name].DKIM {
			s.DkimKeys = append(s.DkimKeys, &proto.DkimKey{Domain: name, Selector: sel, Path: filepath.Join(c.State, "keys", name+"."+sel+".pem")})
		}
	}
	for _, r := range c.Outbound.Resolver {
		s.Resolvers = append(s.Resolvers, r.String())
	}
	return s
}

// told is all of the options that a process learns when it starts: where it differs, another has to be started.
func (o *Options) told() string {
	return fmt.Sprint(o.Directory, o.Settings, o.Timeout, o.OnFailure, o.Run, o.State, o.Spool, o.Keys, o.Launcher, o.Owner, o.Site)
}
