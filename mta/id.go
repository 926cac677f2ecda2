package mta

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// ID names a message in the spool, in logs and in file names. It is 16 characters of Crockford's base 32:
// eleven hold the microseconds since 1970 (so that names sort by time), five are random.
// What queue-runner makes out of a message has the parent's id and a suffix: F, D or S (a report of failure,
// delay or success) or X (a forward), and a number.
type ID string

const (
	idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	idTime     = 11
	idBase     = 16
	// MaxIDLen bounds an id with its suffixes: a report about a forward of a forward still fits.
	MaxIDLen = 48
)

// ErrBadID says that a string is no message id.
var ErrBadID = errors.New("not a message id")

// lastID is the newest time that this process put into an id; it keeps the ids of one process apart and rising.
var lastID atomic.Int64

// NewID returns an id that no other call, here or in another process, has returned or will return,
// save with a chance of 2^-25 for two processes in the same microsecond.
func NewID(now time.Time) ID {
	us := now.UnixMicro()
	for {
		last := lastID.Load()
		if us <= last {
			us = last + 1
		}
		if lastID.CompareAndSwap(last, us) {
			break
		}
	}
	var b [idBase]byte
	for i, v := idTime-1, us; i >= 0; i, v = i-1, v>>5 {
		b[i] = idAlphabet[v&31]
	}
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails: crypto/rand ends the program first
	for i, v := idTime, binary.LittleEndian.Uint64(r[:]); i < idBase; i, v = i+1, v>>5 {
		b[i] = idAlphabet[v&31]
	}
	return ID(b[:])
}

// ParseID checks s against the alphabet and form of an id, so that it can become a path.
func ParseID(s string) (ID, error) {
	if len(s) < idBase || len(s) > MaxIDLen {
		return "", fmt.Errorf("%w: %d characters", ErrBadID, len(s))
	}
	for i := range idBase {
		if strings.IndexByte(idAlphabet, s[i]) < 0 {
			return "", fmt.Errorf("%w: character %d", ErrBadID, i+1)
		}
	}
	rest := s[idBase:]
	for rest != "" {
		if strings.IndexByte("FDSX", rest[0]) < 0 {
			return "", fmt.Errorf("%w: suffix", ErrBadID)
		}
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n == 1 || n > 10 || rest[1] == '0' && n > 2 {
			return "", fmt.Errorf("%w: suffix number", ErrBadID)
		}
		rest = rest[n:]
	}
	return ID(s), nil
}

// Child returns the id of what is made out of the message: kind is F, D, S or X, index the number of the
// (first) recipient that it is about.
func (id ID) Child(kind byte, index int) ID {
	return ID(fmt.Sprintf("%s%c%d", id, kind, index))
}

// Shard returns the two characters that name the message's folder in deferred/; they are random, so that the
// folders fill evenly.
func (id ID) Shard() string { return string(id[idBase-2 : idBase]) }

// Time returns the moment that the id was made, to the microsecond.
func (id ID) Time() time.Time {
	var us int64
	for i := range idTime {
		us = us<<5 | int64(strings.IndexByte(idAlphabet, id[i]))
	}
	return time.UnixMicro(us)
}

// Suffix returns what Child has added, "" for a message that came in.
func (id ID) Suffix() string { return string(id[idBase:]) }
