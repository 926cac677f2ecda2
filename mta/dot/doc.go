// Package dot is the transparency procedure of RFC 5321 4.5.2 and RFC 1939 3: the form in which a message's content
// crosses an SMTP or POP3 connection, lines ending in CR LF, a dot put before each line that begins with one, and a
// line of a single dot behind the last.
//
// Reader takes such a stream apart; smtpd uses it for DATA. Writer makes one from CR LF line ends, for the SMTP client, and
// Stuffer from the LF line ends of a Maildir, for POP3. All work by block and keep nothing but a small buffer, whatever the
// size of the message. Only CR LF "." CR LF ends the
// data: a bare CR or a bare LF never does, in either direction, so nothing can be smuggled behind an end that
// only one side sees.
package dot
