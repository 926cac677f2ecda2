// Package smtpc is one connection of an SMTP client (RFC 5321): greeting, EHLO with HELO for those who do not know it,
// STARTTLS (RFC 3207), AUTH PLAIN (RFC 4954), and transactions with PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME
// (RFC 6152), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689), DSN (RFC 3461), DELIVERBY (RFC 2852) and MT-PRIORITY (RFC 6710)
// where the server offers them; or LMTP (RFC 2033). mta/remote dials, chooses and judges; this package speaks. It logs
// nothing.
//
// A server's refusal is an error that holds its mta.Reply (errors.As); every other error means that the connection is
// of no more use. Each reply and each block of content has its own deadline (RFC 5321 4.5.3.2), a reply as a whole, so
// that a server which sends it octet by octet gains nothing; the end of the context closes the connection.
package smtpc
