// Package local puts one message into one mailbox, exactly once: a delivery that a crash has cut off finds its own file
// when it is repeated, by a name that is derived from the message's id and the recipient's number (spool.5, LOCAL
// DELIVERY). queue-runner's scheduler calls it.
package local
