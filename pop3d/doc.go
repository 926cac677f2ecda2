// Package pop3d is the POP3 server: RFC 1939 with CAPA (RFC 2449), STLS (RFC 2595), AUTH-RESP-CODE and SYS (RFC
// 3206), AUTH (RFC 5034), UTF8 and LANG (RFC 6856).
// cmd/pop3d gives it listeners, a password check and the place of each mailbox.
//
// A session sees a snapshot of its mailbox, taken at login, and holds the mailbox against other sessions until it ends.
// Passwords are taken on TLS alone. Deletions happen at QUIT; a session that ends otherwise deletes nothing. Memory is a
// small buffer a session, larger ones while it answers, whatever the messages' size, and the snapshot; each read, write and
// wait has an end.
package pop3d
