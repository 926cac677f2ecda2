// Package pop3d is the POP3 server: RFC 1939 with CAPA (RFC 2449), STLS (RFC 2595), AUTH-RESP-CODE and SYS (RFC 3206).
// cmd/pop3d gives it listeners, a password check and the place of each mailbox.
//
// A session sees a snapshot of its mailbox, taken at login, and holds the mailbox against other sessions until it ends.
// Passwords are taken on TLS alone. Deletions happen at QUIT; a session that ends otherwise deletes nothing. Memory is a
// few small buffers a session, whatever the messages' size, and the snapshot; each read, write and wait has an end.
package pop3d
