package maildir

import (
	"context"
	"os"
	"time"
)

// OpenAt opens a mailbox at another time, and as one that other hosts have too.
func OpenAt(ctx context.Context, dir string, o Options, shared bool, now time.Time) (*Maildrop, error) {
	return open(ctx, dir, o, shared, now)
}

// Clean says whether the session has found nothing that the cache did not say.
func (m *Maildrop) Clean() bool { return m.clean }

// LeaseAge is leaseAge.
const LeaseAge = leaseAge

// ThisHost is thisHost.
func ThisHost() (string, error) { return thisHost() }

// MoveAside is moveAside.
func MoveAside(path, aside string, f *os.File) error { return moveAside(path, aside, f) }

// NameOctets is how much room the names of files take, those that messages had before too.
func (m *Maildrop) NameOctets() int { return len(m.names) }

// DecodeCache says whether a cache can be read, and what comes out when it is written again.
func DecodeCache(b []byte) (again []byte, ok bool) {
	c := decodeCache(b)
	if c == nil {
		return nil, false
	}
	return c.encode(), true
}

// Paths are the names that a cache would lead to.
func Paths(b []byte) (all []string) {
	if c := decodeCache(b); c != nil {
		for i := range c.all {
			all = append(all, string(c.file(&c.all[i])))
		}
	}
	return all
}

// Seal puts the right checksum behind what is to be a cache.
func Seal(b []byte) []byte { return seal(b) }

// ParseQuotaFile is parseQuotaFile.
func ParseQuotaFile(text []byte) (sum Usage, ok bool) {
	_, sum, _, ok = parseQuotaFile(text)
	return sum, ok
}

// WithSeen is withSeen.
func WithSeen(file string) (string, bool) { return withSeen(file) }

// ParseUIDLs reads a list of UIDLs of each kind.
func ParseUIDLs(text []byte) (dovecot, courier, own UIDLs) {
	dovecot, _ = parseDovecot(text)
	courier, _ = parseCourier(text)
	own, _ = parseUIDLs(text)
	return dovecot, courier, own
}

// Encode is encode.
func (u UIDLs) Encode() []byte { return u.encode() }
