package maillog

import (
	"log/slog"

	"github.com/posthouse-mail/posthouse/mta"
)

// SMTPSession is what the events of one SMTP session have in common.
type SMTPSession struct {
	ID       string // unique in the log
	Listener string // its address in the configuration
	Client   string // address and port, or uid=N
	Name     string // its verified host name, where that is known
	Helo     string // what the client calls itself
	Login    string // who logged in, "" = nobody
}

func (l *Log) smtp(level slog.Level, name string, s SMTPSession, fields ...slog.Attr) {
	l.event(level, name, append([]slog.Attr{
		slog.String("session", s.ID), slog.String("client", s.Client), slog.String("name", s.Name), slog.String("helo", s.Helo), slog.String("login", s.Login),
	}, fields...)...)
}

// SMTPConnected (connected, debug): a client has connected, before the greeting. Fields: session, client, listener.
func (l *Log) SMTPConnected(s SMTPSession) {
	l.smtp(slog.LevelDebug, "connected", s, slog.String("listener", s.Listener))
}

// SMTPTurnedAway (turned-away, warn): a connection over max_connections or max_per_client got 421 at once. Fields: session, client,
// listener, err.
func (l *Log) SMTPTurnedAway(s SMTPSession, err error) {
	l.smtp(slog.LevelWarn, "turned-away", s, slog.String("listener", s.Listener), slog.Any("err", err))
}

// SMTPAccepted (accepted, info): a message is in the spool and the client is being told 250. Fields: id, session,
// client, helo, login, from ("<>" for the null sender), rcpts (how many), size (octets as they came), proto (as in its
// Received field), tls (version and cipher). A recipient event for each recipient follows.
func (l *Log) SMTPAccepted(s SMTPSession, e *mta.Envelope, proto string) {
	l.smtp(slog.LevelInfo, "accepted", s,
		slog.String("id", string(e.ID)), slog.String("from", smtpPath(e.Sender)), slog.Int("rcpts", len(e.Rcpts)),
		slog.Int64("size", e.Size), slog.String("proto", proto), slog.String("tls", tlsWords(e.Origin.TLS, e.Origin.Cipher)))
	for _, r := range e.Rcpts {
		l.event(slog.LevelInfo, "recipient", slog.String("id", string(e.ID)), slog.String("session", s.ID), slog.String("to", smtpPath(r.Address)))
	}
}

// SMTPRejected (rejected, info): a command or a content was refused. Fields: session, client, name, helo, login, stage
// (connect, hello, mail, rcpt, data, content; command for any other), reply, id (content only), from, to (rcpt only).
func (l *Log) SMTPRejected(s SMTPSession, stage string, id mta.ID, from, to string, r mta.Reply) {
	l.smtp(slog.LevelInfo, "rejected", s, slog.String("stage", stage), slog.String("reply", r.String()),
		slog.String("id", string(id)), slog.String("from", from), slog.String("to", to))
}

// SMTPFault (fault, error): something of ours failed and the client was told to try again. Fields: session, client,
// helo, login, stage (mail, rcpt, data, content, auth), id (content only), err.
func (l *Log) SMTPFault(s SMTPSession, stage string, id mta.ID, err error) {
	l.smtp(slog.LevelError, "fault", s, slog.String("stage", stage), slog.String("id", string(id)), slog.Any("err", err))
}

// SMTPLookupFailed (lookup-failed, warn): the resolver could not tell whether the sender's domain exists, and the client
// was told to try again. Fields: session, client, helo, login, domain, err.
func (l *Log) SMTPLookupFailed(s SMTPSession, domain string, err error) {
	l.smtp(slog.LevelWarn, "lookup-failed", s, slog.String("domain", domain), slog.Any("err", err))
}

// SMTPFateUnknown (fate-unknown, error): the spool cannot tell whether it has the message; the connection was closed
// without a reply, and the client will send it again. Fields: session, client, helo, login, id, from, err.
func (l *Log) SMTPFateUnknown(s SMTPSession, id mta.ID, from string, err error) {
	l.smtp(slog.LevelError, "fate-unknown", s, slog.String("id", string(id)), slog.String("from", from), slog.Any("err", err))
}

// SMTPLogin (login, info): a client has logged in. Fields: session, client, helo, login, mech.
func (l *Log) SMTPLogin(s SMTPSession, mech string) {
	l.smtp(slog.LevelInfo, "login", s, slog.String("mech", mech))
}

// SMTPLoginFailed (login-failed, warn): wrong login or password. Fields: session, client, helo, login (what the client
// said), mech.
func (l *Log) SMTPLoginFailed(s SMTPSession, login, mech string) {
	s.Login = login
	l.smtp(slog.LevelWarn, "login-failed", s, slog.String("mech", mech))
}

// SMTPBindingFailed (binding-failed, warn): a login by SCRAM was refused because client and server are not at the two ends of
// one TLS connection, or because the client was not shown SCRAM-SHA-256-PLUS. Fields: session, client, helo, mech, err.
func (l *Log) SMTPBindingFailed(s SMTPSession, mech string, err error) {
	l.smtp(slog.LevelWarn, "binding-failed", s, slog.String("mech", mech), slog.Any("err", err))
}

// SMTPTLSFailed (tls-failed, info): a TLS handshake came to nothing. Fields: session, client, helo, err.
func (l *Log) SMTPTLSFailed(s SMTPSession, err error) {
	l.smtp(slog.LevelInfo, "tls-failed", s, slog.Any("err", err))
}

// SMTPPlaintextDiscarded (plaintext-discarded, warn): a client sent something behind STARTTLS before the handshake;
// it was thrown away: it may be somebody's attempt to put commands into the session. Fields: session, client, helo,
// size (octets).
func (l *Log) SMTPPlaintextDiscarded(s SMTPSession, size int) {
	l.smtp(slog.LevelWarn, "plaintext-discarded", s, slog.Int("size", size))
}

// SMTPNotSMTP (not-smtp, info): the client speaks another protocol, and the connection was closed. Fields: session,
// client, proto (HTTP or TLS).
func (l *Log) SMTPNotSMTP(s SMTPSession, proto string) {
	l.smtp(slog.LevelInfo, "not-smtp", s, slog.String("proto", proto))
}

// SMTPXclient (xclient, info): a client from xclient_from speaks for another, which the fields describe from now on. Fields:
// session, client, name, helo, login, address (from which the connection came).
func (l *Log) SMTPXclient(s SMTPSession, address string) {
	l.smtp(slog.LevelInfo, "xclient", s, slog.String("address", address))
}

// SMTPClosed (closed): a session has ended. At debug after QUIT; at info with its reason otherwise (timeout, too many
// errors, connection lost, shutting down ...). Fields: session, client, helo, login, reason.
func (l *Log) SMTPClosed(s SMTPSession, reason string) {
	level := slog.LevelDebug
	if reason != "" {
		level = slog.LevelInfo
	}
	l.smtp(level, "closed", s, slog.String("reason", reason))
}

// SMTPAcceptFailed (accept-failed, warn): a listener could not take a connection and will try again in a moment.
// Fields: listener, err.
func (l *Log) SMTPAcceptFailed(listener string, err error) {
	l.event(slog.LevelWarn, "accept-failed", slog.String("listener", listener), slog.Any("err", err))
}

// smtpPath shows an address as it stands in a command.
func smtpPath(a mta.Address) string { return "<" + a.String() + ">" }

// tlsWords puts a blank between two words that are both there.
func tlsWords(a, b string) string {
	if a != "" && b != "" {
		return a + " " + b
	}
	return a + b
}

// AliasesRefused (aliases-refused, error): an aliases file has turned bad or cannot be read; the last good one stays in
// force. Fields: err.
func (l *Log) AliasesRefused(err error) {
	l.event(slog.LevelError, "aliases-refused", slog.Any("err", err))
}

// StateFailed (state-failed, error): a file of what is to outlive a restart cannot be read or written. It goes on without.
// Fields: path, err.
func (l *Log) StateFailed(path string, err error) {
	l.event(slog.LevelError, "state-failed", slog.String("path", path), slog.Any("err", err))
}
