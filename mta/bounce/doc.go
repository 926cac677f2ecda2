// Package bounce writes delivery status notifications (RFC 3464): a multipart/report (RFC 6522) with a text for a
// person, the status for programs, and the header of the message, or all of it where its sender asked for that and
// something has failed (RFC 3461 4.3). queue-runner calls it at the end of a round of attempts, with all that there is to
// tell of one message, and sends what it makes with the null sender (RFC 5321 4.5.5).
//
// The text (text.go) begins with a paragraph that says what happened, why, and what to do; explain.go has the reasons.
// What other servers said is quoted.
//
// What it writes is in 7 bits with lines of at most 998 octets, whatever the message and the remote servers held, so
// that it passes through every server; there are two exceptions. A message with 8-bit content that comes back whole stays
// as it is. A report to an address beyond ASCII needs SMTPUTF8 anyway, so it has the types of RFC 6533 with addresses as
// they are; elsewhere they have the form utf-8-addr-xtext (RFC 6533 3).
package bounce
