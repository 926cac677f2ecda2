// Package bounce writes delivery status notifications (RFC 3464): a multipart/report (RFC 6522) with a text for a
// person, the status for programs, and the header of the message, or all of it where its sender asked for that
// (RFC 3461 4.3). queue-runner calls it when a recipient has failed for good, and sends what it makes with the null
// sender (RFC 5321 4.5.5).
//
// What it writes is in 7 bits with lines of at most 998 octets, whatever the message and the remote servers held, so
// that it passes through every server; only an address beyond ASCII in To makes the report itself need SMTPUTF8.
// Addresses beyond ASCII in the status have the form utf-8-addr-xtext (RFC 6533 3).
package bounce
