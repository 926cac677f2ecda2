package maillog_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

var priorityNames = map[slog.Level]string{slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warning", slog.LevelError: "err"}

func TestTheManualHasEachEventWithItsPriorityAndFields(t *testing.T) {
	b, err := os.ReadFile("posthouse-log.5")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	type row struct{ priorities, fields []string }
	rows := map[string]row{}
	for _, m := range regexp.MustCompile(`(?m)^\.It Sy (\S+) Pq (.+)\n.+\nFields:\n\.Va (.+) \.$`).FindAllStringSubmatch(page, -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s stands there twice", m[1])
		}
		rows[m[1]] = row{strings.Split(m[2], " , "), strings.Split(m[3], " , ")}
	}
	seen := map[string]bool{}
	each(t, maillog.New(&records{func(r slog.Record) {
		seen[r.Message] = true
		x, ok := rows[r.Message]
		if !ok {
			t.Errorf("the event %s is missing", r.Message)
			return
		}
		if !slices.Contains(x.priorities, priorityNames[r.Level]) {
			t.Errorf("%s: got the priorities %q, want %s", r.Message, x.priorities, priorityNames[r.Level])
		}
		var fields []string
		r.Attrs(func(a slog.Attr) bool {
			fields = append(fields, a.Key)
			return true
		})
		if !slices.Equal(fields, x.fields) {
			t.Errorf("%s: got the fields %q, want %q", r.Message, x.fields, fields)
		}
	}}), func(string) {})
	for name := range rows {
		if !seen[name] {
			t.Errorf("%s: there is no such event", name)
		}
	}
}

func TestTheManualHasEachFieldWithItsNameInTheJournal(t *testing.T) {
	b, err := os.ReadFile("posthouse-log.5")
	if err != nil {
		t.Fatal(err)
	}
	keys := maillog.JournalKeys()
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if keys[name] == "event" {
			continue
		}
		if !strings.Contains(string(b), ".It Va "+keys[name]+" Pq Ev "+name+"\n") {
			t.Errorf("the field %s (%s) is missing", keys[name], name)
		}
	}
	if n := strings.Count(string(b), " Pq Ev "); n != len(keys)-1 {
		t.Errorf("got %d fields, want the %d that there are", n, len(keys)-1)
	}
}

// records is a handler that passes each record on.
type records struct{ do func(slog.Record) }

func (h *records) Enabled(context.Context, slog.Level) bool { return true }
func (h *records) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *records) WithGroup(string) slog.Handler            { return h }
func (h *records) Handle(_ context.Context, r slog.Record) error {
	h.do(r)
	return nil
}
