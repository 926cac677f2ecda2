package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
)

// Row is what a Store knows of a user, by names that are those of the users file's keys: quota, forward, send_as, disabled,
// host; password has the verifiers, between blanks; address is for the spelling. What is not there is as if it were empty.
// An error of user never holds a verifier. Names that begin with OwnPrefix are for the Store.
type Row map[string]string

// OwnPrefix begins the names of what a Store's rows have for itself; OwnVersion is what changes with the password, if
// the Store checks passwords: where there is none, no success is remembered.
const (
	OwnPrefix  = "."
	OwnVersion = OwnPrefix + "version"
)

// version stands for the verifiers, where the Store keeps them to itself: a success counts no longer when it has changed.
func (r Row) version() []verifier { return []verifier{{scheme: OwnVersion, text: r[OwnVersion]}} }

// crypts are the schemes of verifiers that crypt(3) tells apart by how they begin.
var crypts = []struct{ prefix, scheme string }{
	{"$argon2id$", Argon2id}, {"$2a$", Bcrypt}, {"$2b$", Bcrypt}, {"$2y$", Bcrypt}, {"$6$", SHA512Crypt}, {"$y$", Yescrypt},
}

// user reads the row of the user with an address, which is folded. With drop, verifiers are checked and forgotten.
func (r Row) user(key mta.Address, drop bool) (*User, error) {
	u := &User{Address: key, Quota: -1}
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if strings.HasPrefix(name, OwnPrefix) {
			continue
		}
		value := strings.Trim(r[name], " \t")
		err := sane(value)
		if err == nil {
			switch name {
			case "address":
				err = u.spell(value)
			case "password":
				err = u.setVerifiers(value)
			case "disabled":
				err = u.set(name, truth(value))
			default:
				if err = CheckColumn(name); err == nil {
					err = u.set(name, value)
				}
			}
		}
		if err != nil {
			if known(name) {
				err = fmt.Errorf("column %s: %w", name, err)
			}
			return nil, err
		}
	}
	if drop {
		u.verifiers, u.scram, u.Schemes = nil, nil, nil
	}
	return u, nil
}

// CheckColumn says what is wrong with the name of a Row's column.
func CheckColumn(name string) error {
	if !known(name) {
		return fmt.Errorf("unknown column %.32q; allowed: password, quota, forward, send_as, disabled, host, address", name)
	}
	return nil
}

func known(column string) bool {
	return slices.Contains([]string{"password", "quota", "forward", "send_as", "disabled", "host", "address"}, column)
}

// sane holds a value to the bounds of a line of the users file.
func sane(value string) error {
	switch {
	case len(value) > maxLine:
		return fmt.Errorf("longer than %d octets", maxLine)
	case !utf8.ValidString(value):
		return errors.New("not UTF-8")
	case strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("control character")
	}
	return nil
}

// spell takes the address as its owner writes it. It must be the one that was asked for: a query that compares otherwise than
// we do would give somebody another one's mailbox.
func (u *User) spell(value string) error {
	if value == "" {
		return nil
	}
	a, err := unquoted(value)
	if err != nil {
		return err
	}
	if fold(a) != u.Address {
		return fmt.Errorf("%s is not whom the query was for, %s", a, u.Address)
	}
	u.Address = a
	return nil
}

// unquoted reads an address whose local part is as it is, whatever is in it.
func unquoted(s string) (mta.Address, error) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return mta.Address{}, mta.ErrBadAddress
	}
	return mta.ParseAddress(mta.Address{Local: s[:i], Domain: s[i+1:]}.String())
}

func (u *User) setVerifiers(value string) error {
	for field := range strings.FieldsSeq(value) {
		if !strings.HasPrefix(field, "{") {
			i := slices.IndexFunc(crypts, func(c struct{ prefix, scheme string }) bool { return strings.HasPrefix(field, c.prefix) })
			if i < 0 {
				return errors.New("neither {SCHEME}verifier nor a form of crypt(3) that is taken")
			}
			field = "{" + crypts[i].scheme + "}" + field
		}
		v, err := parseVerifier(field)
		if err != nil {
			return err
		}
		u.Schemes = append(u.Schemes, v.scheme)
		if len(u.Schemes) > maxVerifiers {
			return fmt.Errorf("more than %d verifiers", maxVerifiers)
		}
		if err := u.addVerifier(v); err != nil {
			return err
		}
	}
	return nil
}

// truth has the ways in which databases write a truth as the users file does; what is none stays as it is.
func truth(value string) string {
	switch strings.ToLower(value) {
	case "t", "true", "1", "y":
		return "yes"
	case "f", "false", "0", "n":
		return "no"
	}
	return value
}
