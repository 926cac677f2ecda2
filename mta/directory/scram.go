package directory

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Values of Options.Scram.
const (
	ScramAuto   = "auto"   // when each user who can log in has a verifier for it
	ScramAlways = "always" // users without one are told that they need a new password
	ScramNever  = "never"
)

// The form of new SCRAM verifiers. Each client does these rounds at each login, also on a telephone; who has stolen the file
// does them for each guess.
const (
	scramRounds = 100_000
	scramSalt   = 16
)

const (
	minScramRounds = 4096 // RFC 7677 section 4
	maxScramRounds = 2_000_000
	maxScramSalt   = 64
)

// OffersScram says whether SCRAM-SHA-256 and SCRAM-SHA-256-PLUS are to be offered: a client that is offered them uses them, and
// mostly tries no other when they fail.
func (f *File) OffersScram() (scram, plus bool) {
	if f.opt.DropVerifiers || f.opt.Program != nil || f.opt.Scram == ScramNever {
		return false, false
	}
	plus = !f.opt.NoScramPlus
	if f.opt.Scram == ScramAlways {
		return true, plus
	}
	f.refresh()
	return f.table.Load().scram.without == 0, plus
}

// Scram returns a user's address, as the users file has it, and the verifier for SCRAM-SHA-256. mta.ErrTransition is for a user
// who can log in and has no such verifier.
//
// A login that is unknown or disabled has the identity "" and a verifier that no password fits, in the form that most have
// and with the same salt each time: it comes from the salt key of the users file, so that it is the same in all programs and
// after a restart. As many in a hundred unknown logins get mta.ErrTransition as users do.
func (f *File) Scram(_ context.Context, login string) (identity string, v mta.ScramVerifier, err error) {
	if f.opt.DropVerifiers {
		return "", v, errDropped
	}
	f.refresh()
	t := f.table.Load()
	user, name := f.findLogin(t, login)
	nobody, transition, err := t.scram.nobody(f.saltKey(t), name) // also when there is somebody, for it takes its time
	switch {
	case err != nil:
		return "", v, fmt.Errorf("salt: %w", err)
	case user != nil && user.canLogin() && user.scram != nil:
		return user.Address.String(), *user.scram, nil
	case user != nil && user.canLogin() || transition:
		return "", v, mta.ErrTransition
	}
	return "", nobody, nil
}

// saltKey is the file's, or one of this process where the file has none.
func (f *File) saltKey(t *table) []byte {
	if t.saltKey != nil {
		return t.saltKey
	}
	return f.cache.secret[:]
}

// scramForm is what there is to know of the verifiers of all who can log in.
type scramForm struct {
	with, without int
	rounds, salt  int // the commonest, in rounds and octets
}

func scramFormOf(users map[mta.Address]*User) scramForm {
	type form struct{ rounds, salt int }
	count, best := map[form]int{}, form{scramRounds, scramSalt}
	var s scramForm
	for _, u := range users {
		switch {
		case !u.canLogin():
		case u.scram == nil:
			s.without++
		default:
			s.with++
			count[form{u.scram.Iterations, len(u.scram.Salt)}]++
		}
	}
	for g, n := range count {
		if m := count[best]; n > m || n == m && (g.rounds < best.rounds || g.rounds == best.rounds && g.salt < best.salt) {
			best = g
		}
	}
	s.rounds, s.salt = best.rounds, best.salt
	return s
}

// nobody returns what a login that does not exist is shown.
func (s scramForm) nobody(key []byte, name string) (v mta.ScramVerifier, transition bool, err error) {
	b, err := hkdf.Key(sha256.New, key, nil, "posthouse scram nobody "+name, 8+s.salt+2*sha256.Size)
	if err != nil {
		return v, false, err
	}
	lot, b := binary.BigEndian.Uint64(b), b[8:]
	v.Salt, b = b[:s.salt], b[s.salt:]
	v.Iterations = s.rounds
	copy(v.StoredKey[:], b)
	copy(v.ServerKey[:], b[sha256.Size:])
	all := uint64(s.with + s.without)
	of, _ := bits.Mul64(lot, all) // spreads evenly over 0 to all-1, and a login's place among the others does not move
	return v, of < uint64(s.without), nil
}

// newScram makes a verifier with a salt; RFC 5802 section 3.
func newScram(password string, salt []byte, rounds int) (mta.ScramVerifier, error) {
	v := mta.ScramVerifier{Salt: salt, Iterations: rounds}
	salted, err := pbkdf2.Key(sha256.New, saslPrep(password), salt, rounds, sha256.Size)
	if err != nil {
		return v, err
	}
	v.StoredKey = sha256.Sum256(mac(salted, "Client Key"))
	copy(v.ServerKey[:], mac(salted, "Server Key"))
	return v, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text))
	return h.Sum(nil)
}

// formatScram is the text of a verifier in the users file.
func formatScram(v mta.ScramVerifier) string {
	e := base64.StdEncoding
	return fmt.Sprintf("%d,%s,%s,%s", v.Iterations, e.EncodeToString(v.Salt), e.EncodeToString(v.StoredKey[:]), e.EncodeToString(v.ServerKey[:]))
}

func (v *verifier) parseScram() error {
	f := scramSyntax.FindStringSubmatch(v.text)
	if f == nil {
		return errNotForm
	}
	s := &mta.ScramVerifier{Iterations: number(f[1])}
	if s.Iterations < minScramRounds || s.Iterations > maxScramRounds {
		return fmt.Errorf("%d rounds; allowed: %d to %d", s.Iterations, minScramRounds, maxScramRounds)
	}
	var err error
	if s.Salt, err = base64.StdEncoding.Strict().DecodeString(f[2]); err != nil || len(s.Salt) == 0 || len(s.Salt) > maxScramSalt {
		return fmt.Errorf("salt is not base64 of 1 to %d octets", maxScramSalt)
	}
	for i, key := range []*[sha256.Size]byte{&s.StoredKey, &s.ServerKey} {
		b, err := base64.StdEncoding.Strict().DecodeString(f[3+i])
		if err != nil || len(b) != len(key) {
			return errNotForm
		}
		copy(key[:], b)
	}
	v.scram, v.cost = s, fmt.Sprintf("%s %d", Scram, s.Iterations)
	return nil
}

// matchScram checks a password that a client has sent us as it is.
func (v *verifier) matchScram(password string) bool {
	got, err := newScram(password, v.scram.Salt, v.scram.Iterations)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey[:], v.scram.StoredKey[:]) == 1
}

// The line of the users file that belongs to nobody: "* salt_key=", and 32 octets in base64.
const (
	nobodyField  = "*"
	saltKeyField = "salt_key="
	saltKeyLen   = 32
)

// newSaltKeyLine makes one.
func newSaltKeyLine() string {
	var key [saltKeyLen]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand ends the program first
	return nobodyField + " " + saltKeyField + base64.StdEncoding.EncodeToString(key[:])
}

// isNobody says whether a line begins with *.
func isNobody(line string) bool {
	fields, err := splitLine(strings.TrimSuffix(line, "\n"))
	return err == nil && len(fields) > 0 && fields[0] == nobodyField
}

// HasSaltKey says whether a users file has that line.
func HasSaltKey(path string) bool {
	data, _, err := readFile(path)
	return err == nil && slices.ContainsFunc(newLines(data).all, isNobody)
}

// setSaltKey takes such a line.
func (t *table) setSaltKey(line string) error {
	fields, err := splitLine(line)
	if err != nil {
		return err
	}
	if t.saltKey != nil {
		return errors.New("a second line that begins with *")
	}
	t.saltKey, err = parseSaltKey(fields)
	return err
}

// parseSaltKey reads the fields of that line. Its errors do not show the key.
func parseSaltKey(fields []string) ([]byte, error) {
	if len(fields) != 2 || !strings.HasPrefix(fields[1], saltKeyField) {
		return nil, errors.New("a line that begins with * has salt_key= and nothing else")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(fields[1], saltKeyField))
	if err != nil || len(key) != saltKeyLen || bytes.Equal(key, make([]byte, saltKeyLen)) {
		return nil, fmt.Errorf("salt_key: not %d octets in base64", saltKeyLen)
	}
	return key, nil
}
