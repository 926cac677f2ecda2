// Package rspamd is the filter rspamd: Rspamd judges each message. cmd/filter starts it; posthouse-filters(7) describes its
// settings.
package rspamd

import (
	"context"
	"fmt"

	"github.com/posthouse-mail/posthouse/filters"
	"github.com/posthouse-mail/posthouse/filters/daemon"
)

// Filter is the filter.
type Filter struct {
	Version string

	set      settings
	hostname string
}

// settings are [settings] of rspamd.toml.
type settings struct {
	daemon.Settings
	Password    string  `toml:"password"` // of the controller, "" = none
	OnReject    string  `toml:"on_reject"`
	OnAddHeader string  `toml:"on_add_header"`
	OnGreylist  string  `toml:"on_greylist"`
	SpamHeader  string  `toml:"spam_header"` // name of the field that marks spam
	Score       float64 `toml:"score"`       // what Rspamd's score is multiplied with
}

// maxFactor bounds score.
const maxFactor = 1000

var (
	onReject    = map[string]filters.Action{"reject": filters.Reject, "quarantine": filters.Quarantine, "discard": filters.Discard, "none": filters.Continue}
	onAddHeader = map[string]filters.Action{"header": filters.Continue, "quarantine": filters.Quarantine}
	onGreylist  = map[string]filters.Action{"tempfail": filters.TempFail, "none": filters.Continue}
)

// Describe implements filters.Filter.
func (f *Filter) Describe() filters.Info {
	return filters.Info{Name: "rspamd", Version: f.Version, Summary: "has Rspamd judge messages", Edits: true}
}

// Configure implements filters.Configurer.
func (f *Filter) Configure(site *filters.Site, s filters.Settings) error {
	set := settings{
		Settings: daemon.Settings{Address: "127.0.0.1:11333", Timeout: "25s", MaxSize: "50MB"},
		OnReject: "reject", OnAddHeader: "quarantine", OnGreylist: "none", SpamHeader: "X-Spam",
	}
	if err := s.Decode(&set); err != nil {
		return err
	}
	if err := set.Check(s); err != nil {
		return err
	}
	if _, ok := onReject[set.OnReject]; !ok {
		return s.Fault("on_reject", fmt.Sprintf("on_reject = %q; allowed: reject, quarantine, discard, none", set.OnReject))
	}
	if _, ok := onAddHeader[set.OnAddHeader]; !ok {
		return s.Fault("on_add_header", fmt.Sprintf("on_add_header = %q; allowed: quarantine, header", set.OnAddHeader))
	}
	if _, ok := onGreylist[set.OnGreylist]; !ok {
		return s.Fault("on_greylist", fmt.Sprintf("on_greylist = %q; allowed: none, tempfail", set.OnGreylist))
	}
	if !daemon.FieldName(set.SpamHeader) {
		return s.Fault("spam_header", fmt.Sprintf("spam_header = %q; allowed: the name of a header field", set.SpamHeader))
	}
	if !(set.Score >= 0 && set.Score <= maxFactor) {
		return s.Fault("score", fmt.Sprintf("score = %v; allowed: 0 to %d", set.Score, maxFactor))
	}
	if clean(set.Password) != set.Password {
		return s.Fault("password", "password: control characters cannot be sent")
	}
	f.set, f.hostname = set, site.Hostname
	return nil
}

// Message implements filters.MessageChecker.
func (f *Filter) Message(ctx context.Context, e *filters.Event) (*filters.Verdict, error) {
	if f.set.TooLarge(e.Message) {
		return nil, nil
	}
	ctx, cancel := f.set.Bounded(ctx)
	defer cancel()
	a, err := f.check(ctx, e)
	if err != nil {
		return nil, f.set.Fault(ctx, err)
	}
	return f.verdict(e.Message, a)
}
