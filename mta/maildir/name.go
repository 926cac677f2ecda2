package maildir

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// MaxUnique is the longest unique part that POP3 can give out as it stands (RFC 1939 section 7).
const MaxUnique = 70

// Unique returns the unique part of the file name of recipient index of message id on host: the same for each try of
// one delivery, so that a repeated one finds its own file, and different for any other. It has only letters, digits,
// dots and hyphens, and at most MaxUnique of them.
func Unique(id mta.ID, index int, host string) string { return UniqueNotice(id, index, "", host) }

// UniqueNotice is Unique for a message of our own that comes with a delivery: its kind is a word.
func UniqueNotice(id mta.ID, index int, kind, host string) string {
	s := string(id) + "." + kind + strconv.Itoa(index) + "." + safeHost(host)
	if len(s) <= MaxUnique {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	head := string(id)
	if len(head) > 32 {
		head = head[:16]
	}
	return head + "." + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

// ours says whether a unique part is one of Unique.
func ours(unique string) bool {
	id, _, found := strings.Cut(unique, ".")
	_, err := mta.ParseID(id)
	return found && err == nil
}

// safeHost replaces what has a meaning in a Maildir's file names.
func safeHost(host string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, host)
}

// FileName returns the name under which a message is delivered: its unique part, its size on the disk and its size on
// the wire (with CR LF line ends), so that a reader needs neither stat nor read to know them.
func FileName(unique string, size, wire int64) string {
	return unique + ",S=" + strconv.FormatInt(size, 10) + ",W=" + strconv.FormatInt(wire, 10)
}
