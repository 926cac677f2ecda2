package maillog

import (
	"context"
	"log/slog"
	"time"
)

// Log writes events. The zero Log and a nil *Log write nothing. It is safe for use by many goroutines.
type Log struct{ h slog.Handler }

// New returns a Log that writes to h: one of NewText, NewJSON and NewJournal.
func New(h slog.Handler) *Log { return &Log{h} }

// event writes one event; fields with the zero value are left out, so that a line says only what is so.
func (l *Log) event(level slog.Level, name string, fields ...slog.Attr) {
	if l == nil || l.h == nil {
		return
	}
	ctx := context.Background()
	if !l.h.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, name, 0)
	for _, f := range fields {
		if !isZero(f.Value) {
			r.AddAttrs(f)
		}
	}
	_ = l.h.Handle(ctx, r) // a log that cannot be written must not stop the mail
}

func isZero(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindString:
		return v.String() == ""
	case slog.KindAny:
		return v.Any() == nil
	}
	return false
}
