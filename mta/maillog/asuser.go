package maillog

import (
	"log/slog"
	"time"
)

// AsUserRefused (as-user-refused, warn): as-user does not do what it was asked. Fields: op (deliver, program, session,
// check), user, program, peer (the uid of who asked), reason (password, user, forbidden, fault), err.
func (l *Log) AsUserRefused(op, user, program string, peer int, reason string, err error) {
	l.event(slog.LevelWarn, "as-user-refused", slog.String("op", op), slog.String("user", user), slog.String("program", program),
		slog.Int("peer", peer), slog.String("reason", reason), slog.Any("err", err))
}

// AsUserChecked (as-user-checked, info): a password was the user's. Fields: user, peer.
func (l *Log) AsUserChecked(user string, peer int) {
	l.event(slog.LevelInfo, "as-user-checked", slog.String("user", user), slog.Int("peer", peer))
}

// AsUserStarted (as-user-started, info): a process runs as a user. Fields: op, user, program, peer, pid.
func (l *Log) AsUserStarted(op, user, program string, peer, pid int) {
	l.event(slog.LevelInfo, "as-user-started", slog.String("op", op), slog.String("user", user), slog.String("program", program),
		slog.Int("peer", peer), slog.Int("pid", pid))
}

// AsUserEnded (as-user-ended, info; warn where it was killed, or left processes behind): it is over. Fields: op, user,
// program, pid, status (how it ended), reason (why it was killed), left (processes that it had left behind, which were
// killed), took, err.
func (l *Log) AsUserEnded(op, user, program string, pid int, status, reason string, left int, took time.Duration, err error) {
	level := slog.LevelInfo
	if reason != "" || left > 0 || err != nil {
		level = slog.LevelWarn
	}
	l.event(level, "as-user-ended", slog.String("op", op), slog.String("user", user), slog.String("program", program),
		slog.Int("pid", pid), slog.String("status", status), slog.String("reason", reason), slog.Int("left", left),
		slog.Duration("took", took.Round(time.Millisecond)), slog.Any("err", err))
}
