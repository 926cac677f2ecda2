package directory

import (
	"errors"
	"regexp"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// errCrypt does not quote the hash.
var errCrypt = errors.New("its password is hashed in a way that is not known here; known: yescrypt, SHA-512-crypt, SHA-256-crypt, bcrypt")

// cryptDummy costs what crypt(5)'s default costs; no password is known for it.
const cryptDummy = "$y$j9T$cG9zdGhvdXNlbm9ib2R5$DqobLZboUFD1THj0lYlg6k/ZOIXxGgEHsqMil.mEkRB"

// sha256Form is as sha512Form.
var sha256Form = regexp.MustCompile(`^\$5\$(?:rounds=([1-9][0-9]{0,9})\$)?[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{43}$`)

// MatchCrypt checks a password against a hash of the machine's accounts (shadow(5), crypt(5)). An empty hash matches
// nothing, after the work that dummy takes, or if that is empty too, the default of crypt(5); nor does an empty password.
func MatchCrypt(hash, dummy, password string) (bool, error) {
	known := hash != ""
	if !known {
		if hash = dummy; hash == "" {
			hash = cryptDummy
		}
	}
	v, err := parseCrypt(hash)
	if err != nil {
		return false, errCrypt
	}
	return v.match(password) && known && password != "", nil
}

// CommonCrypt returns one of the hashes whose check costs what that of most of them costs; "" where none is taken.
func CommonCrypt(hashes []string) string {
	best, count := "", map[string]int{}
	bestCost := ""
	for _, hash := range hashes {
		v, err := parseCrypt(hash)
		if err != nil {
			continue
		}
		count[v.cost]++
		if best == "" || count[v.cost] > count[bestCost] {
			best, bestCost = hash, v.cost
		}
	}
	return best
}

func parseCrypt(hash string) (verifier, error) {
	switch {
	case strings.HasPrefix(hash, "$y$"):
		return parseVerifier("{" + Yescrypt + "}" + hash)
	case strings.HasPrefix(hash, "$6$"):
		return parseVerifier("{" + SHA512Crypt + "}" + hash)
	case strings.HasPrefix(hash, "$2"):
		return parseVerifier("{" + Bcrypt + "}" + hash)
	}
	f := sha256Form.FindStringSubmatch(hash)
	if f == nil || f[1] != "" && (number(f[1]) < minSHARounds || number(f[1]) > maxSHARounds) {
		return verifier{}, errNotForm
	}
	d, err := shacrypt.DecodeVariant(shacrypt.VariantSHA256)(hash)
	return verifier{digest: d, cost: "SHA256-CRYPT " + f[1]}, err
}
