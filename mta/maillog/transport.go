package maillog

import (
	"log/slog"
	"time"
)

// MTASTSFetched (mta-sts-fetched, info): the MTA-STS policy of a domain was fetched and is in force. Fields: domain,
// policy-id (the id of its record), mode, max-age.
func (l *Log) MTASTSFetched(domain, id, mode string, maxAge time.Duration) {
	l.event(slog.LevelInfo, "mta-sts-fetched", slog.String("domain", domain), slog.String("policy-id", id), slog.String("mode", mode), slog.Duration("max-age", maxAge))
}

// MTASTSError (mta-sts-error, warn): something did not work with a policy; mail goes on with what is known. Fields: domain,
// op (fetch: the domain announces a policy that cannot be had; keep, read, remove, sweep: the files), err.
func (l *Log) MTASTSError(domain, op string, err error) {
	l.event(slog.LevelWarn, "mta-sts-error", slog.String("domain", domain), slog.String("op", op), slog.Any("err", err))
}

// TLSDowngraded (tls-downgraded, warn): a connection to a domain's mail server is less protected than connections to that
// domain have been in the last 30 days; said once a day for a domain. Fields: domain, by (the host), was, now (authenticated,
// encrypted or none).
func (l *Log) TLSDowngraded(domain, host, was, now string) {
	l.event(slog.LevelWarn, "tls-downgraded", slog.String("domain", domain), slog.String("by", host), slog.String("was", was), slog.String("now", now))
}

// TLSReportSent (tls-report-sent, info): a domain was sent its daily TLS report. Fields: domain, to (the address, or the URL
// that took it), report-id, good, bad (how many sessions).
func (l *Log) TLSReportSent(domain, to, id string, good, bad int64) {
	l.event(slog.LevelInfo, "tls-report-sent", slog.String("domain", domain), slog.String("to", to), slog.String("report-id", id),
		slog.Int64("good", good), slog.Int64("bad", bad))
}

// TLSReportError (tls-report-error, warn): a report, or a file of the counters, could not be dealt with; a report is tried
// again every hour for two days. Fields: domain, op (send, give-up, save, read, remove), err.
func (l *Log) TLSReportError(domain, op string, err error) {
	l.event(slog.LevelWarn, "tls-report-error", slog.String("domain", domain), slog.String("op", op), slog.Any("err", err))
}
