package mta

import "crypto/sha256"

// ScramVerifier is what a server keeps of a password for SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677). Who has it can
// play the server, and can try passwords on it; it does not let anybody log in.
type ScramVerifier struct {
	Salt       []byte
	Iterations int
	StoredKey  [sha256.Size]byte
	ServerKey  [sha256.Size]byte
}
