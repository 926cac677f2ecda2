package directory

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/posthouse-mail/posthouse/mta"
)

// The schemes of verifiers, as they stand between braces.
const (
	Argon2id    = "ARGON2ID"
	Bcrypt      = "BCRYPT"
	SHA512Crypt = "SHA512-CRYPT"
	Yescrypt    = "YESCRYPT"
	Scram       = "SCRAM-SHA-256"
	Plain       = "PLAIN"
)

// Bounds on what one check may cost. They admit the settings that RFC 9106, distributions and other mail servers use for
// logins, and refuse a verifier that would take the machine's memory or minutes of its time.
const (
	maxArgonMemory  = 256 << 10 // KiB
	maxArgonWork    = 1 << 20   // KiB times passes
	maxArgonLanes   = 16
	maxBcryptCost   = 14
	minSHARounds    = 1000
	maxSHARounds    = 2_000_000
	maxYescryptSize = 256 << 20 // bytes
	maxVerifierLen  = 1024
)

// verifier is what a password is checked against.
type verifier struct {
	scheme string
	text   string           // as in the file, behind the braces
	cost   string           // equal for two verifiers that take equally long
	digest algorithm.Digest // nil for PLAIN and SCRAM-SHA-256
	scram  *mta.ScramVerifier
}

var errNotForm = errors.New("not in the scheme's form")

// parseVerifier reads "{SCHEME}text" and refuses what would cost too much to check. Its errors never hold the text.
func parseVerifier(field string) (verifier, error) {
	if len(field) > maxVerifierLen {
		return verifier{}, fmt.Errorf("verifier longer than %d octets", maxVerifierLen)
	}
	scheme, text, ok := strings.Cut(strings.TrimPrefix(field, "{"), "}")
	if !ok {
		return verifier{}, errors.New("verifier without }")
	}
	v := verifier{scheme: scheme, text: text}
	var err error
	switch scheme {
	case Argon2id:
		err = v.parseArgon2id()
	case Bcrypt:
		err = v.parseBcrypt()
	case SHA512Crypt:
		err = v.parseSHA512()
	case Yescrypt:
		err = v.parseYescrypt()
	case Scram:
		err = v.parseScram()
	case Plain:
		v.cost = Plain
		if text == "" {
			err = errors.New("empty")
		}
	default:
		return verifier{}, fmt.Errorf("unknown scheme %.32q; allowed: %s, %s, %s, %s, %s, %s",
			scheme, Argon2id, Bcrypt, SHA512Crypt, Yescrypt, Scram, Plain)
	}
	if err != nil {
		return verifier{}, fmt.Errorf("{%s} verifier: %w", scheme, err)
	}
	return v, nil
}

// The libraries read numbers more freely than is good for a bound, so each form is matched whole first.
var (
	argonForm    = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$`)
	bcryptForm   = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[A-Za-z0-9./]{53}$`)
	sha512Form   = regexp.MustCompile(`^\$6\$(?:rounds=([1-9][0-9]{0,9})\$)?[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{86}$`)
	yescryptForm = regexp.MustCompile(`^\$y\$j([A-Za-z0-9./])([A-Za-z0-9./])\$[A-Za-z0-9./]{2,86}\$[A-Za-z0-9./]{43}$`)
	scramSyntax  = regexp.MustCompile(`^([1-9][0-9]{0,9}),([A-Za-z0-9+/]+={0,2}),([A-Za-z0-9+/]{43}=),([A-Za-z0-9+/]{43}=)$`)
)

func (v *verifier) parseArgon2id() (err error) {
	f := argonForm.FindStringSubmatch(v.text)
	if f == nil {
		return errNotForm
	}
	m, t, p := number(f[1]), number(f[2]), number(f[3])
	switch {
	case p > maxArgonLanes:
		return fmt.Errorf("p=%d; allowed: up to %d", p, maxArgonLanes)
	case m > maxArgonMemory || m < 8*p:
		return fmt.Errorf("m=%d; allowed: 8 times p to %d (KiB)", m, maxArgonMemory)
	case t > maxArgonWork/m:
		return fmt.Errorf("t=%d; allowed: m times t up to %d", t, maxArgonWork)
	}
	v.cost = fmt.Sprintf("%s %d %d %d", Argon2id, m, t, p)
	v.digest, err = argon2.DecodeVariant(argon2.VariantID)(v.text)
	return plainError(err)
}

func (v *verifier) parseBcrypt() (err error) {
	f := bcryptForm.FindStringSubmatch(v.text)
	if f == nil {
		return errNotForm
	}
	if cost := number(f[1]); cost < 4 || cost > maxBcryptCost {
		return fmt.Errorf("cost %d; allowed: 4 to %d", cost, maxBcryptCost)
	}
	v.cost = Bcrypt + " " + f[1]
	v.digest, err = bcrypt.DecodeVariant(bcrypt.VariantStandard)(v.text)
	return plainError(err)
}

func (v *verifier) parseSHA512() (err error) {
	f := sha512Form.FindStringSubmatch(v.text)
	if f == nil {
		return errNotForm
	}
	rounds := 5000 // what the form without a number means
	if f[1] != "" {
		rounds = number(f[1])
	}
	if rounds < minSHARounds || rounds > maxSHARounds {
		return fmt.Errorf("rounds=%d; allowed: %d to %d", rounds, minSHARounds, maxSHARounds)
	}
	v.cost = fmt.Sprintf("%s %d", SHA512Crypt, rounds)
	v.digest, err = shacrypt.DecodeVariant(shacrypt.VariantSHA512)(v.text)
	return plainError(err)
}

func (v *verifier) parseYescrypt() (err error) {
	f := yescryptForm.FindStringSubmatch(v.text)
	if f == nil {
		return errNotForm
	}
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	ln, r := strings.Index(digits, f[1])+1, strings.Index(digits, f[2])+1
	if ln < 4 || ln > 24 || 128*r<<ln > maxYescryptSize {
		return fmt.Errorf("N=2^%d, r=%d; allowed: N from 16, and up to %d bytes of memory", ln, r, maxYescryptSize)
	}
	v.cost = fmt.Sprintf("%s %d %d", Yescrypt, ln, r)
	v.digest, err = scrypt.DecodeVariant(scrypt.VariantYescrypt)(v.text)
	return plainError(err)
}

// number reads what a form matched: at most ten digits.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// plainError keeps the library's words, which quote the verifier, out of logs.
func plainError(err error) error {
	if err != nil {
		return errNotForm
	}
	return nil
}

// match says whether password is the one; a fault of the library is a no.
func (v *verifier) match(password string) bool {
	if v.scheme == Plain {
		// Hashed first, so that the comparison tells nothing of the length.
		a, b := sha256.Sum256([]byte(v.text)), sha256.Sum256([]byte(password))
		return subtle.ConstantTimeCompare(a[:], b[:]) == 1
	}
	if v.scram != nil {
		return v.matchScram(password)
	}
	ok, err := v.digest.MatchAdvanced(password)
	return ok && err == nil
}
