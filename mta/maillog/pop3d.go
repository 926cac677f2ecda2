package maillog

import "log/slog"

// POP3AcceptFailed: the kernel gave no connection, for want of file descriptors as a rule; the daemon tries again within a
// second. Fields: listener, err.
func (l *Log) POP3AcceptFailed(listener string, err error) {
	l.event(slog.LevelError, "pop3-accept-failed", slog.String("listener", listener), slog.Any("err", err))
}

// POP3Refused: a connection was over a bound and closed at once. Fields: client, err (which bound).
func (l *Log) POP3Refused(client string, err error) {
	l.event(slog.LevelWarn, "pop3-refused", slog.String("client", client), slog.Any("err", err))
}

// POP3TLSFailed: a handshake failed, and the connection with it. Fields: session, client, err.
func (l *Log) POP3TLSFailed(session, client string, err error) {
	l.event(slog.LevelInfo, "pop3-tls-failed", slog.String("session", session), slog.String("client", client), slog.Any("err", err))
}

// POP3PlaintextDropped: a client sent octets behind STLS before the handshake; they were dropped. Somebody between client
// and server may have put them there. Fields: session, client, octets.
func (l *Log) POP3PlaintextDropped(session, client string, octets int) {
	l.event(slog.LevelWarn, "pop3-plaintext-dropped", slog.String("session", session), slog.String("client", client), slog.Int("octets", octets))
}

// POP3Login: a client has logged in. Fields: session, client, mech (USER, or a mechanism of SASL), login (the mailbox), tls,
// messages, octets (what it holds).
func (l *Log) POP3Login(session, client, mech, login, tls string, messages int, octets int64) {
	l.event(slog.LevelInfo, "pop3-login", slog.String("session", session), slog.String("client", client), slog.String("mech", mech),
		slog.String("login", login), slog.String("tls", tls), slog.Int("messages", messages), slog.Int64("octets", octets))
}

// POP3Unconfined (debug): the process of a user's session could not give up all that it does not need. Fields: session,
// login, err (what of Landlock and seccomp is not in force).
func (l *Log) POP3Unconfined(session, login, err string) {
	l.event(slog.LevelDebug, "pop3-unconfined", slog.String("session", session), slog.String("login", login), slog.String("err", err))
}

// POP3LoginFailed: a login was refused. Fields: session, client, reason (credentials, binding, transition, in-use,
// login-delay, or fault: one of ours), mech, login (as it was sent, completed), err. What a client can choose stands behind the client's address, so that
// a program which reads the log cannot be misled.
func (l *Log) POP3LoginFailed(session, client, reason, mech, login string, err error) {
	l.event(slog.LevelWarn, "pop3-login-failed", slog.String("session", session), slog.String("client", client), slog.String("reason", reason),
		slog.String("mech", mech), slog.String("login", login), slog.Any("err", err))
}

// POP3MessageFailed: a message could not be read or removed, or its mailbox not be given back. Of the removals of one
// session only the first failure is told. Fields: session, login, file (the unique part of its name), err.
func (l *Log) POP3MessageFailed(session, login, file string, err error) {
	l.event(slog.LevelError, "pop3-message-failed", slog.String("session", session), slog.String("login", login), slog.String("file", file), slog.Any("err", err))
}

// POP3Closed: a session is over; at level debug when nobody had logged in. Fields: session, client, login, reason, fetched
// and deleted (messages), octets (sent, before TLS).
func (l *Log) POP3Closed(session, client, login, reason string, fetched, deleted int, octets int64) {
	level := slog.LevelInfo
	if login == "" {
		level = slog.LevelDebug
	}
	l.event(level, "pop3-closed", slog.String("session", session), slog.String("client", client), slog.String("login", login), slog.String("reason", reason),
		slog.Int("fetched", fetched), slog.Int("deleted", deleted), slog.Int64("octets", octets))
}
