// Package spool is the state machine on disk that every message passes through: see spool.5, whose words it follows
// step by step.
//
// It has two sides. A Writer takes messages in: smtpd has one, and queue-runner has one for what it makes itself. The
// Store belongs to the one running queue-runner: it reads the segments that writers left, remembers what became of each
// recipient, moves what must wait into files of its own, and reclaims what is done.
//
// Neither side has a goroutine: a caller's own call does the work, so that a test can stop it at any file operation.
// All file work goes through mta/durable. The package knows no network, no mailbox and no schedule.
package spool
