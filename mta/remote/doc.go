// Package remote carries a message to one destination off this host: it finds the mail exchangers (RFC 5321 5.1), walks
// them by preference and address by address, holds each connection to the destination's TLS level, and returns an
// Outcome for each recipient. queue-runner's workers call it. It knows no users, no mailboxes and no schedule, and logs
// nothing: what an operator should see is in Outcome.Cause.
//
// What is final and what is tried again:
//
//   - A null MX is 556 5.1.10 (RFC 7505), a domain that does not exist 550 5.1.2, one without a usable address 550 5.4.4.
//   - A permanent reply to MAIL, RCPT, DATA or the end of the data is final for the recipients it concerns, a temporary
//     one is a deferral; another host is not asked, for it speaks for the same domain. A permanent reply to the
//     connection or to EHLO speaks for that host alone: it is final when every host gives one.
//   - A connection that fails before the end of the data leads to the next host; behind it, the message may have been
//     taken, so it is a deferral and no other host is asked.
//   - A connection that has carried a message waits for the next one to the same host (pool.go); that it was closed
//     meanwhile is no failure. Recipients that were too many for one transaction (452 4.5.3) go into the next on it.
//   - An address that cannot be reached, or sends messages away unheard, stands behind the others for a while (aside.go):
//     it is the host that waits, not the message.
//   - Where our own configuration is at fault (we are the best exchanger of a domain that is not ours, a smart host that
//     does not exist, a login that is refused), mail waits: it is a deferral, never a failure.
package remote
