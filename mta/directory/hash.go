package directory

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// MaxPassword bounds a password, in octets: what is longer is refused before any work is done.
const MaxPassword = 1024

// maxBcryptPassword is all that bcrypt looks at; a longer one would be cut without a word.
const maxBcryptPassword = 72

// Schemes that NewVerifier makes, the default first.
func Schemes() []string { return []string{Argon2id, Bcrypt, SHA512Crypt, Yescrypt, Scram, Plain} }

type hasher interface {
	Hash(password string) (algorithm.Digest, error)
}

// NewVerifier makes a new salted verifier for a password, as it stands in the users file: "{SCHEME}text".
// Argon2id takes 19 MiB and 2 passes, with one lane. The password must be 1 to MaxPassword octets of UTF-8 without NUL;
// PLAIN takes no blanks and no control characters, for the file could not hold them.
func NewVerifier(scheme, password string) (string, error) {
	if err := CheckPassword(scheme, password); err != nil {
		return "", err
	}
	switch scheme {
	case Plain:
		return "{" + Plain + "}" + password, nil
	case Scram:
		salt := make([]byte, scramSalt)
		_, _ = rand.Read(salt) // never fails: crypto/rand ends the program first
		v, err := newScram(password, salt, scramRounds)
		if err != nil {
			return "", fmt.Errorf("hash password: %w", err)
		}
		return "{" + Scram + "}" + formatScram(v), nil
	}
	h, err := newHasher(scheme)
	if err != nil {
		return "", err
	}
	d, err := h.Hash(preparePassword(password))
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return "{" + scheme + "}" + d.Encode(), nil
}

// CheckPassword says why a scheme cannot take a new password.
func CheckPassword(scheme, password string) error {
	switch {
	case password == "":
		return errors.New("password is empty")
	case len(password) > MaxPassword:
		return fmt.Errorf("password is longer than %d octets", MaxPassword)
	case !utf8.ValidString(password) || strings.ContainsRune(password, 0):
		return errors.New("password is not UTF-8 without NUL")
	case scheme == Bcrypt && len(preparePassword(password)) > maxBcryptPassword:
		return fmt.Errorf("password is longer than the %d octets that bcrypt looks at; use another scheme", maxBcryptPassword)
	case scheme == Plain && strings.ContainsFunc(password, isBlankOrControl):
		return errors.New("password has a blank or a control character, which scheme plain cannot hold; use another scheme")
	}
	return nil
}

func newHasher(scheme string) (hasher, error) {
	switch scheme {
	case Argon2id:
		return argon2.New(argon2.WithVariant(argon2.VariantID), argon2.WithM(19*1024), argon2.WithT(2), argon2.WithP(1),
			argon2.WithK(32), argon2.WithS(16))
	case Bcrypt:
		return bcrypt.New(bcrypt.WithVariant(bcrypt.VariantStandard), bcrypt.WithIterations(11))
	case SHA512Crypt:
		return shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(200_000), shacrypt.WithSaltLength(16))
	case Yescrypt: // what crypt(5) calls $y$j9T$: 16 MiB
		return scrypt.New(scrypt.WithVariant(scrypt.VariantYescrypt), scrypt.WithLN(12), scrypt.WithR(32), scrypt.WithP(1),
			scrypt.WithK(32), scrypt.WithS(16))
	}
	return nil, fmt.Errorf("unknown scheme %q; allowed: %s", scheme, strings.Join(Schemes(), ", "))
}
