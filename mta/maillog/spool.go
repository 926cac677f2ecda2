package maillog

import "log/slog"

// SpoolDamaged: octets of a segment that were once on the disk do not read back; they were copied to corrupt/, and
// reading went on behind them. Messages may be missing: the copy has what is left of them.
func (l *Log) SpoolDamaged(file string, offset, length int64, saved string) {
	l.event(slog.LevelError, "spool-damaged", slog.String("file", file), slog.Int64("offset", offset), slog.Int64("length", length), slog.String("saved", saved))
}

// SpoolTorn: a segment ends in a write that a death or a loss of power has cut short, before anyone was told of it.
// Nothing is missing.
func (l *Log) SpoolTorn(file string, offset, length int64) {
	l.event(slog.LevelInfo, "spool-torn", slog.String("file", file), slog.Int64("offset", offset), slog.Int64("length", length))
}

// SpoolCorrupt: a file of the spool failed its checksum or did not parse; it was moved to corrupt/ and is never deleted.
func (l *Log) SpoolCorrupt(file, saved string, err error) {
	l.event(slog.LevelError, "spool-corrupt", slog.String("file", file), slog.String("saved", saved), slog.Any("err", err))
}

// SpoolSkipped: a file of the spool cannot be used now (unreadable, or written by a newer version) and stays where it is.
func (l *Log) SpoolSkipped(file string, err error) {
	l.event(slog.LevelError, "spool-skipped", slog.String("file", file), slog.Any("err", err))
}

// SpoolError: the disk refused a file operation of the spool; it will be tried again, and nothing is lost by it.
func (l *Log) SpoolError(op string, err error) {
	l.event(slog.LevelError, "spool-error", slog.String("op", op), slog.Any("err", err))
}

// SpoolSwept: a file that belonged to no message any more was removed.
func (l *Log) SpoolSwept(file string) {
	l.event(slog.LevelInfo, "spool-swept", slog.String("file", file))
}

// SpoolRecovered: what queue-runner found in the spool at start-up.
func (l *Log) SpoolRecovered(messages, deferred, segments, journal int) {
	l.event(slog.LevelInfo, "spool-recovered", slog.Int("messages", messages), slog.Int("deferred", deferred), slog.Int("segments", segments), slog.Int("journal", journal))
}
