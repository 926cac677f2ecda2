// Package directory knows who has a mailbox here and checks passwords, from the users file: a line a user,
//
//	ADDRESS {SCHEME}verifier ... key=value ...
//
// with blanks between the fields; lines that are empty or begin with # mean nothing. smtpd asks it at RCPT and at AUTH,
// queue-runner for each local recipient (without verifiers), pop3d at login; posthouse user writes the file.
//
// Reading is strict: one fault, named as file:line, and the whole file is refused. A running daemon then keeps the table
// it has. Verifiers are ARGON2ID (RFC 9106), BCRYPT, SHA512-CRYPT, YESCRYPT, PLAIN and SCRAM-SHA-256 (RFC 5802, 7677). A
// password is checked against all of a user's but that for SCRAM, which is used for passwords where it stands alone. The
// cost that a verifier asks for is bounded when the file is read.
//
// One line may belong to nobody, "* salt_key=" and 32 octets in base64: what the salts of unknown logins are made of, so
// that they are the same in smtpd and pop3d and after a restart, as true ones are. It is written with the first verifier for SCRAM.
//
// Domains are compared without regard to case and to the form of their labels (A or U, RFC 5890), local parts without
// regard to the case of ASCII letters: two lines that differ in no more are refused. The identity of a user is the
// address as the file has it.
package directory
