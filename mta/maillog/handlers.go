package maillog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// NewText returns a handler that writes `time=... level=info event=NAME key=value ...`, one line an event.
// Values with blanks, quotes or control characters are quoted as Go strings, so no value can begin a line of its own.
func NewText(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: plainNames})
}

// NewJSON returns a handler that writes one JSON object a line.
func NewJSON(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: plainNames})
}

func plainNames(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.MessageKey:
		a.Key = "event"
	case slog.LevelKey:
		if l, ok := a.Value.Any().(slog.Level); ok {
			a.Value = slog.StringValue(strings.ToLower(l.String()))
		}
	}
	return a
}

// NewJournal returns a handler over one that speaks journald's protocol: the message is the line that NewText would
// write, less time and level, and each field is there under its journal name.
func NewJournal(next slog.Handler) slog.Handler {
	j := &journal{next: next}
	j.line = slog.NewTextHandler(&j.buf, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: lineOnly})
	return j
}

type journal struct {
	next slog.Handler
	mu   sync.Mutex // guards buf and line
	buf  bytes.Buffer
	line slog.Handler
}

func lineOnly(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey, slog.LevelKey, slog.MessageKey:
		return slog.Attr{}
	}
	return a
}

func (j *journal) Enabled(ctx context.Context, l slog.Level) bool { return j.next.Enabled(ctx, l) }

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	j.mu.Lock()
	j.buf.Reset()
	err := j.line.Handle(ctx, r)
	text := strings.TrimSuffix(r.Message+" "+j.buf.String(), "\n")
	j.mu.Unlock()
	if err != nil {
		return err
	}
	out := slog.NewRecord(r.Time, r.Level, strings.TrimSpace(text), r.PC)
	out.AddAttrs(slog.String(journalNames["event"], r.Message))
	r.Attrs(func(a slog.Attr) bool {
		if name, ok := journalNames[a.Key]; ok {
			out.AddAttrs(slog.String(name, value(a.Value)))
		}
		return true
	})
	return j.next.Handle(ctx, out)
}

// value is a field as the line has it, without quotation marks: times in the form of RFC 3339.
func value(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return fmt.Sprint(v.Any())
}

func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }
func (j *journal) WithGroup(string) slog.Handler      { return j }
