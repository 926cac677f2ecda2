// Package host is smtpd's side of the filters: it starts each enabled filter as a process of its own, asks it at the stages
// that it wants, and makes one verdict of theirs; it starts again what dies, and takes up what changes on disk. cmd/smtpd
// joins it with mta/smtpd, whose interfaces it satisfies; the package filters is what is at the other end.
//
// What a filter sends is hostile until it has been checked: verdict.go and edit.go do that. A message's content goes to a
// filter as the path of a file, never through gRPC.
//
// Files: host.go the set of filters, slot.go one of them and its calls, supervise.go its life, process.go one process of
// it, leftover.go what that has started, trust.go and settings.go what is looked at before it may start, session.go the
// stages of one SMTP session, mail.go and draft.go, edit.go, body.go and header.go a message that is being edited,
// authres.go what becomes of the notes, counters.go, status.go and metrics.go what is counted, trial.go a message that is
// tried and not taken, attach.go a filter without a process.
package host
