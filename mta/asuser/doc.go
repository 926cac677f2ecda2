// Package asuser is the client's side of the one program that may become another user: as-user(8). queue-runner starts
// deliveries and configured programs with it, pop3d a session, and smtpd has passwords of the machine's accounts checked.
//
// A connection to its Unix socket carries one request: a frame of two octets of length (big endian) and as many of JSON,
// with the descriptors that the process is to get beside its first octet (SCM_RIGHTS, unix(7)). One or two frames come
// back: whether it was granted, and, for what was started, how it ended. Who closes the connection before that has the
// process killed, with all that it started. The kernel says who asks (SO_PEERCRED), and that alone decides what is granted.
package asuser
