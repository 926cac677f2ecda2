package accounts

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"
)

// ShadowFile has the passwords of who is in /etc/passwd.
const ShadowFile = "/etc/shadow"

// shadowFields is how many fields a line has; the ninth is for later use, and may be missing.
const shadowFields = 8

// maxHashes is how many hashes are told, for what a check of a password costs.
const maxHashes = 100

// Shadow is a line of shadow(5); the zero Shadow is that of who has none.
type Shadow struct {
	Hash string // of the password, as crypt(3) has it

	changed, most, grace, end string // days
}

// ReadShadow returns a user's line, and the first hashes of the file, whosever they are. Only root can read it.
func ReadShadow(name string) (entry Shadow, hashes []string, err error) {
	file, err := os.Open(ShadowFile)
	if err != nil {
		return Shadow{}, nil, err
	}
	defer file.Close()
	found := false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < shadowFields {
			continue
		}
		if strings.HasPrefix(f[1], "$") && len(hashes) < maxHashes {
			hashes = append(hashes, f[1])
		}
		if f[0] == name && !found {
			entry, found = Shadow{f[1], f[2], f[4], f[6], f[7]}, true
		}
	}
	return entry, hashes, lines.Err()
}

// Locked says that no password is that of the account.
func (s Shadow) Locked() bool {
	return strings.HasPrefix(s.Hash, "!") || strings.HasPrefix(s.Hash, "*")
}

// Expired says whether the account is over.
func (s Shadow) Expired(now time.Time) bool {
	end, ok := days(s.end)
	return ok && today(now) >= end
}

// Stale says whether the password is so old that nobody may log in with it.
func (s Shadow) Stale(now time.Time) bool {
	changed, isChanged := days(s.changed)
	most, hasMost := days(s.most)
	grace, hasGrace := days(s.grace)
	return isChanged && changed == 0 || isChanged && hasMost && hasGrace && today(now) > changed+most+grace
}

// days reads a field.
func days(field string) (int64, bool) {
	n, err := strconv.ParseInt(field, 10, 32)
	return n, err == nil && n >= 0
}

func today(now time.Time) int64 { return now.Unix() / (24 * 60 * 60) }
