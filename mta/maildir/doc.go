// Package maildir is a user's mailbox on disk: a folder with tmp/, new/ and cur/ and a file for each message.
//
// The deliver half (Mailbox, Unique, FileName) puts a message into new/ exactly once; mta/local calls it for
// queue-runner. The read half (Maildrop) is a POP3 session's snapshot; pop3d calls it. Beside the folders it keeps
// LockFile and LeaseFile against other sessions, CacheFile so that sizes are counted once, and UIDLFile for what a former
// server showed; it adds to QuotaFile what it removes. Counter keeps that file, and Measure
// counts what a Maildir holds. ParseName reads all file names,
// those of other programs too, and Path finds a mailbox by its address. Any number of programs may work in one Maildir at
// once: names change under a reader, and no lock is held against deliveries.
package maildir
