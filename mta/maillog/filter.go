package maillog

import (
	"log/slog"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// SMTPDiscarded (discarded, info): filters wanted a message thrown away; the client was told 250 and nothing is in the
// spool. Fields: session, client, helo, login, id, from, filter.
func (l *Log) SMTPDiscarded(s SMTPSession, id mta.ID, from, filter string) {
	l.smtp(slog.LevelInfo, "discarded", s, slog.String("id", string(id)), slog.String("from", from), slog.String("filter", filter))
}

// FilterVerdict (filtered, info): a filter decided something or changed something. Fields: session, id (message only), filter,
// stage, verdict (accept, reject, tempfail, discard, quarantine, edit), text (what the filter says of it).
func (l *Log) FilterVerdict(session string, id mta.ID, filter string, stage mta.Stage, verdict, text string) {
	l.event(slog.LevelInfo, "filtered", slog.String("session", session), slog.String("id", string(id)), slog.String("filter", filter),
		slog.String("stage", stage.String()), slog.String("verdict", verdict), slog.String("text", text))
}

// FilterFailed (filter-failed, warn): a call of a filter gave no usable verdict: it is down, too slow, or answered nonsense.
// Fields: session, id (message only), filter, stage, verdict (what on_failure made of it: tempfail or accept), err.
func (l *Log) FilterFailed(session string, id mta.ID, filter string, stage mta.Stage, verdict string, err error) {
	l.event(slog.LevelWarn, "filter-failed", slog.String("session", session), slog.String("id", string(id)), slog.String("filter", filter),
		slog.String("stage", stage.String()), slog.String("verdict", verdict), slog.Any("err", err))
}

// FilterStarted (filter-started, info): a filter is at work. Fields: filter, version.
func (l *Log) FilterStarted(filter, version string) {
	l.event(slog.LevelInfo, "filter-started", slog.String("filter", filter), slog.String("version", version))
}

// FilterEnded (filter-ended, info): a filter was ended because it is no longer enabled, or has been replaced. Fields: filter, reason.
func (l *Log) FilterEnded(filter, reason string) {
	l.event(slog.LevelInfo, "filter-ended", slog.String("filter", filter), slog.String("reason", reason))
}

// FilterDown (filter-down, error): a filter could not be started, or its process has ended by itself. Fields: filter, err, delay
// (until the next try).
func (l *Log) FilterDown(filter string, err error, next time.Duration) {
	l.event(slog.LevelError, "filter-down", slog.String("filter", filter), slog.Any("err", err), slog.Duration("delay", next))
}

// FilterKept (filter-kept, error): a filter's new executable or new settings are no good, and the running process stays as it
// is. Fields: filter, err.
func (l *Log) FilterKept(filter string, err error) {
	l.event(slog.LevelError, "filter-kept", slog.String("filter", filter), slog.Any("err", err))
}

// FilterSays is a line that a filter has written to its standard error or its log, at the level that it gave (filter-says).
// Fields: filter, text.
func (l *Log) FilterSays(level slog.Level, filter, text string) {
	for _, known := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if level >= known {
			level = known
			break
		}
	}
	l.event(level, "filter-says", slog.String("filter", filter), slog.String("text", text))
}
