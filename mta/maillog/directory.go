package maillog

import (
	"log/slog"
	"time"
)

// UsersReloaded: the users file has changed and is in force. Fields: path, users (how many).
func (l *Log) UsersReloaded(path string, users int) {
	l.event(slog.LevelInfo, "users-reloaded", slog.String("path", path), slog.Int("users", users))
}

// UsersRefused: the users file has changed and has a fault; the users of before stay in force. It occurs once for each
// fault. Fields: path, err (file:line: what is wrong).
func (l *Log) UsersRefused(path string, err error) {
	l.event(slog.LevelError, "users-refused", slog.String("path", path), slog.String("err", err.Error()))
}

// UsersAway: the users cannot be looked up; mail for them and logins are put off. It occurs once until they can again. Fields:
// driver, err.
func (l *Log) UsersAway(driver string, err error) {
	l.event(slog.LevelError, "users-away", slog.String("driver", driver), slog.String("err", err.Error()))
}

// UsersBack: the users can be looked up again. Fields: driver.
func (l *Log) UsersBack(driver string) {
	l.event(slog.LevelInfo, "users-back", slog.String("driver", driver))
}

// SharedAway: the store of [shared] does not answer; this host counts for itself. It occurs once until it answers again. Fields:
// address (where it is, "" where the file that says so cannot be read), err.
func (l *Log) SharedAway(address string, err error) {
	l.event(slog.LevelWarn, "shared-away", slog.String("address", address), slog.String("err", err.Error()))
}

// SharedBack: the store of [shared] answers again. Fields: address.
func (l *Log) SharedBack(address string) {
	l.event(slog.LevelInfo, "shared-back", slog.String("address", address))
}

// CertificateReloaded: the certificate or its key has changed and is in force. Fields: path (of the certificate), expires.
func (l *Log) CertificateReloaded(path string, expires time.Time) {
	l.event(slog.LevelInfo, "certificate-reloaded", slog.String("path", path), slog.Time("expires", expires))
}

// CertificateRefused: the certificate or its key has changed and cannot be used; the pair of before stays in force. It
// occurs once for each fault. Fields: path (of the certificate), err.
func (l *Log) CertificateRefused(path string, err error) {
	l.event(slog.LevelError, "certificate-refused", slog.String("path", path), slog.String("err", err.Error()))
}
