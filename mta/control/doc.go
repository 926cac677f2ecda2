// Package control is the socket of queue-runner that operators ask: HTTP with JSON over a Unix socket. It has both ends:
// the server, which joins what the spool and the schedule know, and the client of the posthouse command.
//
// The kernel says who asks (unix(7), SO_PEERCRED). Root, and the user that queue-runner runs as, may do all; others may
// list the queue and the destinations.
//
//	GET  /queue              the messages that a Filter takes, oldest first: a Message as JSON on each line
//	GET  /queue/ID           one message: a Detail
//	GET  /queue/ID/content   the message as a recipient gets it
//	GET  /destinations       how the places stand where mail goes: an array of Destination
//	POST /change             a Change of messages, with the member ids; answered by an array, a Result for each of them
//
// An error has a status of its own and is a JSON object with the member error. One that happens while lines are being
// written is the last line.
package control
