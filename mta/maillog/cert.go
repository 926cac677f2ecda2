package maillog

import (
	"log/slog"
	"time"
)

// CertificateDue: posthouse cert asks the authority for a certificate. Fields: domain (its first name), reason.
func (l *Log) CertificateDue(name, reason string) {
	l.event(slog.LevelInfo, "certificate-due", slog.String("domain", name), slog.String("reason", reason))
}

// CertificateObtained: the authority has made a certificate. Fields: domain (its first name), members (its other names), expires.
func (l *Log) CertificateObtained(name, others string, expires time.Time) {
	l.event(slog.LevelInfo, "certificate-obtained", slog.String("domain", name), slog.String("members", others), slog.Time("expires", expires))
}

// CertificateFailed: a certificate was due and could not be obtained, or not put in place; the old one stays, and the next run
// tries again. Fields: domain (its first name), err.
func (l *Log) CertificateFailed(name string, err error) {
	l.event(slog.LevelError, "certificate-failed", slog.String("domain", name), slog.String("err", err.Error()))
}

// CertificateInstalled: a certificate is where the daemons read it. Fields: path, expires.
func (l *Log) CertificateInstalled(path string, expires time.Time) {
	l.event(slog.LevelInfo, "certificate-installed", slog.String("path", path), slog.Time("expires", expires))
}
