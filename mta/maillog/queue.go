package maillog

import (
	"log/slog"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

// QueueDelivered (delivered, info): a recipient has the message. Fields: id, to, by (local: in its mailbox; program: of the configuration; discard: a
// route throws it away; else the host that took it), address (of that host), reply, tls, delay (since it was accepted).
func (l *Log) QueueDelivered(id mta.ID, to mta.Address, by string, o mta.Outcome, delay time.Duration) {
	l.event(slog.LevelInfo, "delivered", slog.String("id", string(id)), slog.String("to", smtpPath(to)), slog.String("by", by),
		slog.String("address", o.Addr), slog.String("reply", o.Reply().String()), slog.String("tls", o.TLS),
		slog.Duration("delay", delay.Round(time.Millisecond)), slog.Any("err", o.Cause))
}

// QueueDeferred (deferred, warn): a recipient could not be reached and will be tried again. Fields: id, to, by (the host
// that said so, none for ourselves), address, reply, tls, tries (how many there were), next (when the next one is), err.
func (l *Log) QueueDeferred(id mta.ID, to mta.Address, o mta.Outcome, next time.Time, tries int) {
	l.event(slog.LevelWarn, "deferred", slog.String("id", string(id)), slog.String("to", smtpPath(to)), slog.String("by", o.Host),
		slog.String("address", o.Addr), slog.String("reply", o.Reply().String()), slog.String("tls", o.TLS),
		slog.Int("tries", tries), slog.Time("next", next), slog.Any("err", o.Cause))
}

// QueueFailed (failed, warn): a recipient will not get the message. Fields: id, to, by, address, reply, tls, err.
func (l *Log) QueueFailed(id mta.ID, to mta.Address, o mta.Outcome) {
	l.event(slog.LevelWarn, "failed", slog.String("id", string(id)), slog.String("to", smtpPath(to)), slog.String("by", o.Host),
		slog.String("address", o.Addr), slog.String("reply", o.Reply().String()), slog.String("tls", o.TLS), slog.Any("err", o.Cause))
}

// QueueExpanded (expanded, info): a recipient was an alias; its members are recipients now. Fields: id, to (the alias),
// members (of this message), forwarded (of a message of their own: off this host, or with an owner), child (the id of the message
// that these get), from (the sender that these see, where it was rewritten: SRS), err (why it could not be).
func (l *Log) QueueExpanded(id mta.ID, to mta.Address, members, forwarded int, child mta.ID, sender mta.Address, err error) {
	path := ""
	if !sender.IsNull() {
		path = smtpPath(sender)
	}
	l.event(slog.LevelInfo, "expanded", slog.String("id", string(id)), slog.String("to", smtpPath(to)),
		slog.Int("members", members), slog.Int("forwarded", forwarded), slog.String("child", string(child)), slog.String("from", path), slog.Any("err", err))
}

// QueueReported (reported, info): a report (DSN) is in the queue. Fields: id (of the report), parent (of the message
// that it is about), to (who gets it: the sender, or postmaster), failed, delayed and succeeded (how many recipients of
// each kind it tells of).
func (l *Log) QueueReported(id, parent mta.ID, to mta.Address, failed, delayed, succeeded int) {
	l.event(slog.LevelInfo, "reported", slog.String("id", string(id)), slog.String("parent", string(parent)),
		slog.String("to", smtpPath(to)), slog.Int("failed", failed), slog.Int("delayed", delayed), slog.Int("succeeded", succeeded))
}

// QueueHeld (held, info): a message is not tried for now. Fields: id, until (when it is released; none for one that waits
// for the operator), reason (why it is held; none for one that its sender wants to leave later).
func (l *Log) QueueHeld(id mta.ID, until time.Time, reason string) {
	fields := []slog.Attr{slog.String("id", string(id)), slog.String("reason", reason)}
	if !until.IsZero() {
		fields = append(fields, slog.Time("until", until))
	}
	l.event(slog.LevelInfo, "held", fields...)
}

// QueueDropped (dropped, error): a report that nobody else could be told of could not be delivered to postmaster either;
// it is thrown away. Fields: id, to.
func (l *Log) QueueDropped(id mta.ID, to mta.Address) {
	l.event(slog.LevelError, "dropped", slog.String("id", string(id)), slog.String("to", smtpPath(to)))
}

// QueueOrdered (ordered, info): an operator has changed a message. Fields: id, op (hold, release, retry, bounce, remove,
// redirect), by (who), to (of a redirection), reason (of a hold, a bounce, a removal).
func (l *Log) QueueOrdered(id mta.ID, op, by string, to mta.Address, reason string) {
	fields := []slog.Attr{slog.String("id", string(id)), slog.String("op", op), slog.String("by", by), slog.String("reason", reason)}
	if !to.IsNull() {
		fields = append(fields, slog.String("to", smtpPath(to)))
	}
	l.event(slog.LevelInfo, "ordered", fields...)
}

// QueueFinished (finished, info): nothing is left to do for a message. Fields: id.
func (l *Log) QueueFinished(id mta.ID) {
	l.event(slog.LevelInfo, "finished", slog.String("id", string(id)))
}

// QueueSiteDead (dead, warn): no host of a site takes mail just now; all mail for it waits until it was tried again.
// Fields: site, reply (why), address, next (when it is tried), waiting (messages and transactions), err.
func (l *Log) QueueSiteDead(site string, o mta.Outcome, next time.Time, waiting int) {
	l.event(slog.LevelWarn, "dead", slog.String("site", site), slog.String("reply", o.Reply().String()), slog.String("address", o.Addr),
		slog.Time("next", next), slog.Int("waiting", waiting), slog.Any("err", o.Cause))
}

// QueueSiteAlive (alive, info): a site that was dead has taken a message. Fields: site, waiting (messages that go to it
// now).
func (l *Log) QueueSiteAlive(site string, waiting int) {
	l.event(slog.LevelInfo, "alive", slog.String("site", site), slog.Int("waiting", waiting))
}

// QueuePostponed (postponed, error): the spool refused something for a message, which waits; nothing is lost by it.
// Fields: id, op (forward, report), next, err.
func (l *Log) QueuePostponed(id mta.ID, op string, next time.Time, err error) {
	l.event(slog.LevelError, "postponed", slog.String("id", string(id)), slog.String("op", op), slog.Time("next", next), slog.Any("err", err))
}

// QueueUnreadable (unreadable, error): a message cannot be read from the spool. It stays where it is, and is looked at
// again. Fields: id, next, err (which file, and what is wrong with it).
func (l *Log) QueueUnreadable(id mta.ID, next time.Time, err error) {
	l.event(slog.LevelError, "unreadable", slog.String("id", string(id)), slog.Time("next", next), slog.Any("err", err))
}

// QueueStalled (stalled, error): an operation on the spool has begun to fail. While that lasts it is tried every second.
// Fields: op (flush: results cannot be written down, and no delivery begins; poll: new messages cannot be read;
// checkpoint: nothing is cleared away), err.
func (l *Log) QueueStalled(op string, err error) {
	l.event(slog.LevelError, "stalled", slog.String("op", op), slog.Any("err", err))
}

// QueueResumed (resumed, info): an operation on the spool that had failed works again. Fields: op (as in QueueStalled).
func (l *Log) QueueResumed(op string) {
	l.event(slog.LevelInfo, "resumed", slog.String("op", op))
}

// MailboxExpired (expired, info): messages were removed that had been in a mailbox's Junk and Trash for junk_expire; of a fault
// (error) nobody but the log tells. Fields: mailbox, removed (how many), err.
func (l *Log) MailboxExpired(mailbox string, removed int, err error) {
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelError
	}
	l.event(level, "expired", slog.String("mailbox", mailbox), slog.Int("removed", removed), slog.Any("err", err))
}

// QueueCut (cut, warn): deliveries were still under way when the time to end was over; they are broken off and made
// again after the next start. Fields: running (how many).
func (l *Log) QueueCut(running int) {
	l.event(slog.LevelWarn, "cut", slog.Int("running", running))
}
