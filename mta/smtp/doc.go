// Package smtp is the wire of SMTP, for both sides: command lines, paths and parameters as smtpd reads them, replies
// as smtpd writes and smtpc reads them, EHLO keywords, and the protocol's limits. It knows no session and no socket.
//
// It obeys RFC 5321 (4.1.1, 4.1.2, 4.2, 4.5.3.1), RFC 2034 and 3463 (enhanced status codes), RFC 3030 2 (BDAT), RFC 3461 4 (xtext),
// RFC 4954 4 (length of an AUTH line) and RFC 6531 3.3 (UTF-8 in paths).
package smtp
