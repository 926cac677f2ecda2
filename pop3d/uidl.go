package pop3d

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/posthouse-mail/posthouse/mta/maildir"
)

// uniqueID returns a message's UIDL (RFC 1939 7): the unique part of its file name, at most 70 characters from 0x21 to
// 0x7E. Another program's name that does not fit, or that another message has too, is replaced by its hash.
func uniqueID(m maildir.Message) string {
	if m.Twin == 0 && fitsUIDL(m.Unique) {
		return m.Unique
	}
	s := m.Unique
	if m.Twin != 0 {
		s += "\x00" + strconv.FormatUint(m.Twin, 10)
	}
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func fitsUIDL(s string) bool {
	if s == "" || len(s) > maildir.MaxUnique {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
