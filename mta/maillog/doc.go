// Package maillog has one function for each event that an operator may see. A daemon makes one Log and hands it down;
// nobody else formats a log line. The functions stand in a file per program: smtpd.go, queue.go, pop3d.go, daemon.go.
//
// An event is a name and fields. As text it is one line of key=value; in the journal the line is the message and each
// field stands beside it under the name that fields.go gives it, so that `journalctl QUEUE_ID=...` shows the life of a
// message. Passwords and message bodies are never a field. The package opens no file and no socket: it is given a slog.Handler.
package maillog
