package spool

import "errors"

// Errors of Incoming.Write and Incoming.Commit.
var (
	// ErrFull says that the disk is full; nothing of the message is kept (452 4.3.1).
	ErrFull = errors.New("spool: no space left")
	// ErrFailed says that the spool could not take the message; nothing of it is kept (451 4.3.0).
	ErrFailed = errors.New("spool: message not taken")
	// ErrUnknown says that the message may or may not be delivered: the session must end without a reply.
	ErrUnknown = errors.New("spool: fate of the message unknown")
)
