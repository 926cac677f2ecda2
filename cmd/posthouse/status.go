package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta/config"
)

// watchEvery is how often --watch looks.
const watchEvery = 2 * time.Second

// newStatus is `posthouse status`: how all of it is, on one screen.
func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how everything is: daemons, queue, rates, errors, certificates, filters",
		Args:  cobra.NoArgs,
	}
	path := cmd.Flags().StringP("config", "c", config.DefaultPath, "the configuration `FILE`")
	watch := cmd.Flags().BoolP("watch", "w", false, "show it again every two seconds, with the rates between")
	asJSON := cmd.Flags().Bool("json", false, "as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Read(*path)
		if err != nil {
			return coded(err)
		}
		var last *overview
		for {
			o := look(cmd.Context(), cfg)
			o.since(last)
			if err := o.show(cmd.OutOrStdout(), *asJSON, *watch); err != nil {
				return coded(err)
			}
			if !*watch {
				return o.verdict()
			}
			last = o
			select {
			case <-time.After(watchEvery):
			case <-cmd.Context().Done():
				return nil
			}
		}
	}
	return cmd
}

// The states of a daemon. Only what was seen is said: a daemon that cannot be asked is unknown.
const (
	stateRunning = "running"
	stateUnwell  = "unwell"
	stateDown    = "not running"
	stateUnknown = "unknown"
)

// overview is all that could be seen at one moment.
type overview struct {
	At           time.Time     `json:"at"`
	Daemons      []daemonView  `json:"daemons"`
	Queue        queueView     `json:"queue"`
	Disk         *diskView     `json:"disk,omitempty"`
	Certificates []certView    `json:"certificates"`
	Renewal      *renewalView  `json:"renewal,omitempty"` // by posthouse cert
	Filters      []filterState `json:"filters"`
	FiltersKnown bool          `json:"filters_known"`
	Errors       []errorView   `json:"errors"`
	ErrorsWhy    string        `json:"errors_unknown,omitempty"` // why the log could not be read
	Rates        []rateView    `json:"rates,omitempty"`
}

type daemonView struct {
	Name  string    `json:"name"`
	State string    `json:"state"`
	Why   string    `json:"why,omitempty"`
	Start time.Time `json:"start,omitzero"`

	metrics samples
}

type queueView struct {
	Known    bool           `json:"known"`
	Told     time.Time      `json:"told,omitzero"` // when queue-runner has said so
	Messages int            `json:"messages"`
	Oldest   time.Time      `json:"oldest,omitzero"`
	Status   map[string]int `json:"status,omitempty"` // known from the metrics alone
	Dead     []string       `json:"dead,omitempty"`   // destinations
}

type diskView struct {
	Path string `json:"path"`
	Free int64  `json:"free"`
	Size int64  `json:"size"`
}

type certView struct {
	Path    string    `json:"path"`
	Expires time.Time `json:"expires,omitzero"`
	Days    int       `json:"days"`
	Why     string    `json:"unknown,omitempty"`
}

// renewalView is what posthouse cert does.
type renewalView struct {
	Timer string     `json:"timer,omitempty"` // "active", or what it is instead; unknown without systemd
	Lines []certLine `json:"certificates"`
}

type errorView struct {
	At    time.Time `json:"at"`
	Event string    `json:"event"`
	Text  string    `json:"text"`
}

// rateView is how much of something there was, and over which time.
type rateView struct {
	What      string  `json:"what"`
	Total     float64 `json:"total"`
	PerMinute float64 `json:"per_minute"`
	Over      string  `json:"over"`
}

func (o *overview) verdict() error {
	for _, d := range o.Daemons {
		if d.State == stateDown || d.State == stateUnwell {
			return &codedError{exitFound, fmt.Errorf("%s: %s", d.Name, d.State)}
		}
	}
	return nil
}

func (o *overview) show(out io.Writer, asJSON, again bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(o)
	}
	if f, ok := out.(*os.File); ok && again && isTerminal(f) {
		if _, err := io.WriteString(out, "\x1b[H\x1b[2J"); err != nil {
			return err
		}
	}
	return o.text(out)
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// counted are the counters whose rates are shown.
var counted = []struct{ daemon, what, name, label string }{
	{"smtpd", "messages in", "posthouse_smtpd_messages_total", ""},
	{"smtpd", "refusals", "posthouse_smtpd_commands_refused_total", ""},
	{"queue-runner", "delivered", "posthouse_queue_recipients_total", `result="delivered"`},
	{"queue-runner", "deferred", "posthouse_queue_recipients_total", `result="deferred"`},
	{"queue-runner", "failed", "posthouse_queue_recipients_total", `result="failed"`},
	{"pop3d", "messages fetched", "posthouse_pop3d_messages_retrieved_total", ""},
}

// since fills the rates in: since the last look, or else since each daemon's start.
func (o *overview) since(last *overview) {
	for _, c := range counted {
		for i, d := range o.Daemons {
			if d.Name != c.daemon || d.metrics == nil {
				continue
			}
			r := rateView{What: c.what, Total: d.metrics.sum(c.name, c.label), Over: "since its start"}
			over, n := o.At.Sub(d.Start), r.Total
			if last != nil && last.Daemons[i].metrics != nil && last.Daemons[i].Start.Equal(d.Start) {
				n, over, r.Over = n-last.Daemons[i].metrics.sum(c.name, c.label), o.At.Sub(last.At), "now"
			}
			if over > 0 {
				r.PerMinute = n / over.Minutes()
			}
			o.Rates = append(o.Rates, r)
		}
	}
}

// errorsShown is how many of the last errors are shown, of errorsSince.
const (
	errorsShown = 5
	errorsSince = 24 * time.Hour
	errorsTime  = 10 * time.Second
)

// lastErrors asks the journal.
func (o *overview) lastErrors(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, errorsTime)
	defer cancel()
	seen := false
	args := []string{fmt.Sprintf("--since=@%d", o.At.Add(-errorsSince).Unix()), "--priority=err"}
	err := (&journal{}).read(ctx, args, func(r *record) error {
		if seen = true; r.event == "" {
			return nil
		}
		o.Errors = append(o.Errors, errorView{r.time, r.event, r.words()})
		if len(o.Errors) > errorsShown {
			o.Errors = o.Errors[1:]
		}
		return nil
	})
	if err == nil && !seen && (&journal{}).begins(ctx).IsZero() {
		err = errors.New("the journal has nothing, or you may not read it")
	}
	if err != nil {
		o.ErrorsWhy = err.Error()
	}
}
