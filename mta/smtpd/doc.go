// Package smtpd is the server's side of SMTP: it takes connections, holds the dialogue, and hands each message to a
// Queue. cmd/smtpd joins it with the spool, the router, the password check and the certificates; it knows none of them,
// only the small interfaces of options.go. A verb has a file.
//
// It obeys RFC 5321; RFC 1870 (SIZE), 2034 and 3463 (ENHANCEDSTATUSCODES), 2852 (DELIVERBY), 2920 (PIPELINING), 3030
// (CHUNKING, without BINARYMIME), 3207 (STARTTLS), 3461 (DSN), 3848 and 6531 (protocol names), 4865 (FUTURERELEASE), 4954
// (AUTH), 6152 (8BITMIME), 6531 and 6533 (SMTPUTF8), 6710 (MT-PRIORITY), 8314 (implicit TLS), 8689 (REQUIRETLS) and 9422
// (LIMITS). Content is passed on exactly as it came in; only CR LF ends a line, and only CR LF "." CR LF the data that DATA
// brings. What comes by BDAT is held to the same rules, and gets the line end behind its last line where that has none.
//
// The memory of a session is a few kilobytes, and while content arrives one block more; what the Queue keeps of a
// message is its own affair.
package smtpd
