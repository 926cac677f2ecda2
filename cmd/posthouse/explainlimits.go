package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// limits are those that are in force for such a message.
type limits struct {
	MessageSize       int64  `json:"message_size"` // octets: the largest that a listener of the role takes
	Recipients        int    `json:"recipients"`   // of one message
	MessageRate       string `json:"message_rate,omitempty"`
	RecipientRate     string `json:"recipient_rate,omitempty"`
	Lifetime          int    `json:"lifetime"` // seconds, like the others
	DelayNotice       int    `json:"delay_notice"`
	RetryFirst        int    `json:"retry_first"`
	RetryMax          int    `json:"retry_max"`
	MaxPerDestination int    `json:"max_per_destination"`
}

func (e *explainer) limits(x *explanation) {
	c := e.cfg
	l := limits{
		Recipients: c.SMTPD.MaxRecipients, Lifetime: int(c.Queue.Lifetime.Seconds()), DelayNotice: int(c.Queue.DelayNotice.Seconds()),
		RetryFirst: int(c.Queue.RetryFirst.Seconds()), RetryMax: int(c.Queue.RetryMax.Seconds()), MaxPerDestination: c.Queue.MaxPerDestination,
	}
	size := config.Size(0)
	for _, s := range c.SMTPD.Listen {
		if s.Role == x.Role {
			size = max(size, s.MaxMessageSize)
		}
	}
	if size == 0 { // there is no such listener
		size = c.SMTPD.MaxMessageSize
		x.Notes = append(x.Notes, fmt.Sprintf("no listener has the role %s: such mail cannot come in", x.Role))
	}
	l.MessageSize = int64(size)
	r := c.SMTPD.Rate
	if x.Role == "submission" {
		l.MessageRate, l.RecipientRate = rate(r.MessagesPerLogin), rate(r.RecipientsPerLogin)
	} else {
		l.MessageRate = rate(r.MessagesPerClient)
	}
	if x.From != nil && *x.From == "" {
		l.Lifetime, l.DelayNotice = int(c.Queue.BounceLifetime.Seconds()), 0
	}
	x.Limits = l
}

func rate(r config.Rate) string {
	if r == (config.Rate{}) {
		return ""
	}
	return r.String()
}

// filterSeen is a filter that would see the message.
type filterSeen struct {
	Name   string   `json:"name"`
	State  string   `json:"state,omitempty"`  // "" = smtpd does not say
	Stages []string `json:"stages,omitempty"` // in which it is asked
}

// filters finds out which filters are asked for the role. Without smtpd only the configuration is known.
func (e *explainer) filters(x *explanation) {
	x.Filters = []filterSeen{}
	if len(e.cfg.Filters.Enabled) == 0 {
		return
	}
	b, err := askSMTPD(filepath.Join(e.cfg.Run, "smtpd", "control.sock"))
	var state struct {
		Filters []struct {
			filterState
			Roles []string `json:"roles"`
		} `json:"filters"`
	}
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err != nil {
		for _, name := range e.cfg.Filters.Enabled {
			x.Filters = append(x.Filters, filterSeen{Name: name})
		}
		x.Notes = append(x.Notes, fmt.Sprintf("smtpd does not say which filters it asks, is it running? %v", err))
		return
	}
	for _, f := range state.Filters {
		if len(f.Roles) == 0 || slices.Contains(f.Roles, x.Role) {
			x.Filters = append(x.Filters, filterSeen{f.Name, f.State, slices.SortedFunc(maps.Keys(f.Stages), byStage)})
		}
	}
}

// byStage puts stages in the order in which they come.
func byStage(a, b string) int {
	order := []string{"connect", "hello", "sender", "recipient", "message"}
	return slices.Index(order, a) - slices.Index(order, b)
}
