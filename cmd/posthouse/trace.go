package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
)

// maxTraced bounds the messages and the sessions of one trace, and with them what it keeps in memory.
const maxTraced = 2000

// newTrace is `posthouse trace`: the life of a message, out of the log.
func newTrace() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace ID|ADDRESS",
		Short: "Tell the life of a message, or of all that an address sent or was sent, from the log",
		Args:  cobra.ExactArgs(1),
	}
	since := cmd.Flags().String("since", "", "what was logged since `TIME`: 2h, 3d, yesterday, 2026-11-28, \"2026-11-28 10:00\"")
	logs := cmd.Flags().StringArray("log", nil, "read `FILE` (text, JSON, .gz), - for standard input, or a journal's folder; may be given again; without it the journal")
	asJSON := cmd.Flags().Bool("json", false, "as JSON, one object an event")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := newTracer(args[0])
		if err != nil {
			return &codedError{exitUsage, err}
		}
		if t.since, err = parseSince(*since, time.Now()); err != nil {
			return &codedError{exitUsage, fmt.Errorf("--since: %w", err)}
		}
		src, done, err := openLogs(*logs, cmd.InOrStdin())
		if err != nil {
			return coded(err)
		}
		defer done()
		return t.run(cmd.Context(), src, cmd.OutOrStdout(), *asJSON)
	}
	return cmd
}

// parseSince reads how far to look back; zero is all.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch s { // as journalctl has them
	case "today":
		return day, nil
	case "yesterday":
		return day.AddDate(0, 0, -1), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, form := range []string{time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; allowed: 30m, 2h, 3d, today, yesterday, 2026-11-28, \"2026-11-28 10:00\"", s)
}

// tracer knows what is looked for. A message's reports and forwards have ids that begin with its own, so that a family
// has the first characters of an id in common.
type tracer struct {
	id      mta.ID // "" where an address is looked for
	address string // in lower case
	typed   string // as it was given
	since   time.Time

	families map[string]bool // by the first of their ids
	ids      map[string]bool // all ids that were seen of them: the journal is asked for each
	sessions map[string]bool
	more     bool // there is more than maxTraced of one

	first, last time.Time // of all records seen
	found       int
	over        bool // the message of the id is done
}

// familyLen is how much of an id its family has in common: the id of what came in.
const familyLen = 16

func family(id string) string { return id[:min(len(id), familyLen)] }

func newTracer(what string) (*tracer, error) {
	t := &tracer{families: map[string]bool{}, ids: map[string]bool{}, sessions: map[string]bool{}}
	if strings.Contains(what, "@") {
		a, err := mta.ParseAddress(strings.Trim(what, "<>"))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", what, err)
		}
		t.typed, t.address = a.String(), strings.ToLower(a.String())
		return t, nil
	}
	id, err := parseID(what)
	if err != nil {
		return nil, fmt.Errorf("%q is neither an address nor the id of a message", what)
	}
	t.id = id
	t.families[family(string(id))] = true
	t.ids[family(string(id))], t.ids[string(id)] = true, true
	return t, nil
}

// logSource is where records come from, in the order of time.
type logSource interface {
	// each passes the records that t may want to do.
	each(ctx context.Context, t *tracer, do func(*record) error) error
	// begins is the time of the first record there is, zero where that is not known.
	begins(ctx context.Context) time.Time
	name() string
	// known is a number that grows when another pass can find more.
	known(t *tracer) int
}

// run learns which messages and sessions belong to the story, until nothing new comes, and then tells it.
func (t *tracer) run(ctx context.Context, src logSource, out io.Writer, asJSON bool) error {
	for before := -1; before != src.known(t); {
		before = src.known(t)
		if err := src.each(ctx, t, func(r *record) error { t.learn(r); return nil }); err != nil {
			return coded(err)
		}
	}
	show := t.text(out)
	if asJSON {
		e := json.NewEncoder(out)
		show = func(r *record) error { return e.Encode(r.object()) }
	}
	err := src.each(ctx, t, func(r *record) error {
		if !t.wants(r) {
			return nil
		}
		t.found++
		t.over = t.over || r.event == "finished" && r.fields["id"] == string(t.id)
		return show(r)
	})
	if err != nil {
		return coded(err)
	}
	return t.end(src.begins(ctx), src.name(), out, asJSON)
}

// learn adds what a record tells of the story's extent.
func (t *tracer) learn(r *record) {
	at := r.time
	if t.first.IsZero() || at.Before(t.first) {
		t.first = at
	}
	if at.After(t.last) {
		t.last = at
	}
	id := r.fields["id"]
	if id == "" || !t.families[family(id)] && !t.named(r) {
		return
	}
	for _, key := range []string{"id", "parent", "child"} {
		if id := r.fields[key]; id != "" {
			t.add(t.families, family(id))
			t.add(t.ids, family(id))
			t.add(t.ids, id)
		}
	}
	if s := r.fields["session"]; s != "" {
		t.add(t.sessions, s)
	}
}

func (t *tracer) add(set map[string]bool, s string) {
	if set[s] {
		return
	}
	if len(set) >= 8*maxTraced || len(t.families) > maxTraced {
		t.more = true
		return
	}
	set[s] = true
}

// named says whether a record is about the address.
func (t *tracer) named(r *record) bool {
	if t.address == "" {
		return false
	}
	for _, key := range []string{"from", "to"} {
		if strings.EqualFold(strings.Trim(r.fields[key], "<>"), t.address) {
			return true
		}
	}
	return false
}

// wants says whether a record belongs to the story: to one of its messages, to the session that brought one, or to an
// attempt of the address that came to nothing.
func (t *tracer) wants(r *record) bool {
	switch id := r.fields["id"]; {
	case r.time.Before(t.since):
		return false
	case id != "" && t.families[family(id)]:
		return true
	case id == "" && t.sessions[r.fields["session"]]:
		return true
	}
	return t.named(r)
}

// end says what the story lacks.
func (t *tracer) end(begins time.Time, where string, out io.Writer, asJSON bool) error {
	if t.since.After(begins) {
		begins = t.since
	}
	var notes []string
	if t.id != "" && begins.After(t.id.Time()) {
		notes = append(notes, fmt.Sprintf("%s reaches back to %s, and the message came in at %s: what was before is missing",
			where, moment(begins), moment(t.id.Time())))
	}
	if t.id != "" && t.found > 0 && !t.over {
		notes = append(notes, fmt.Sprintf("it is not finished as far as %s tells; posthouse queue show %s says how it stands", where, t.id))
	}
	if t.more {
		notes = append(notes, fmt.Sprintf("there are more than %d messages, not all of which are shown: say --since", maxTraced))
	}
	if t.found == 0 {
		text := "nothing in " + where + " is about it"
		if begins.IsZero() {
			text += ", which has nothing of Posthouse, or that you may not read"
		} else {
			text += ", which reaches back to " + moment(begins)
			if t.id != "" && begins.After(t.id.Time()) {
				text += ": the message came in before that, at " + moment(t.id.Time())
			}
		}
		return &codedError{exitNoInput, errors.New(text)}
	}
	if asJSON {
		return nil
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(out, "note:", printable(n)); err != nil {
			return coded(err)
		}
	}
	return nil
}

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
