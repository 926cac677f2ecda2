package directory

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/config"
)

// Bounds of the users file.
const (
	MaxFile      = 64 << 20 // octets
	maxLine      = 16 << 10 // octets
	maxVerifiers = 8        // a line: each is tried when a password is wrong
	maxForward   = 100      // addresses
	maxSendAs    = 100
)

// table is a users file that was read without a fault.
type table struct {
	users map[mta.Address]*User // by fold of the address
	dummy []verifier            // what a check of nobody's password works on

	scram   scramForm
	saltKey []byte // nil: the file has none
}

// parse reads a whole file; its error says name:line: what is wrong. With drop, verifiers are checked and forgotten.
func parse(name string, data []byte, drop bool) (*table, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s: larger than %d octets", name, MaxFile)
	}
	t := &table{users: map[mta.Address]*User{}}
	n := 0
	for raw := range bytes.Lines(data) {
		n++
		line := strings.TrimSuffix(string(raw), "\n")
		u, err := parseLine(line)
		if err == nil && u == nil && isNobody(line) {
			err = t.setSaltKey(line)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if u == nil {
			continue
		}
		if old := t.users[fold(u.Address)]; old != nil {
			return nil, fmt.Errorf("%s:%d: %s is there already, in line %d (case makes no difference)", name, n, u.Address, old.line)
		}
		u.line = n
		if drop {
			u.verifiers, u.scram, u.Schemes = nil, nil, nil
		}
		t.users[fold(u.Address)] = u
	}
	t.dummy, t.scram = commonest(t.users), scramFormOf(t.users)
	return t, nil
}

// parseLine reads one line without its end; nil for a comment, an empty line, or the line that is nobody's. Errors never hold
// a verifier.
func parseLine(line string) (*User, error) {
	fields, err := splitLine(line)
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	if fields[0] == nobodyField {
		_, err := parseSaltKey(fields)
		return nil, err
	}
	u := &User{Quota: -1}
	if u.Address, err = mta.ParseAddress(fields[0]); err != nil {
		return nil, fmt.Errorf("first field: %w", err)
	}
	if strings.ContainsFunc(u.Address.Local, isBlankOrControl) {
		return nil, errors.New("first field: blank or control character in the local part")
	}
	seen := map[string]bool{}
	for _, f := range fields[1:] {
		if strings.HasPrefix(f, "{") {
			v, err := parseVerifier(f)
			if err != nil {
				return nil, err
			}
			u.Schemes = append(u.Schemes, v.scheme)
			if err := u.addVerifier(v); err != nil {
				return nil, err
			}
			continue
		}
		key, value, ok := strings.Cut(f, "=")
		if !ok { // perhaps a verifier without its braces: it is not shown
			return nil, errors.New("field is neither {SCHEME}verifier nor key=value")
		}
		if seen[key] {
			return nil, fmt.Errorf("%.32q twice", key)
		}
		seen[key] = true
		if err := u.set(key, value); err != nil {
			return nil, err
		}
	}
	if len(u.Schemes) > maxVerifiers {
		return nil, fmt.Errorf("%d verifiers; allowed: up to %d", len(u.Schemes), maxVerifiers)
	}
	return u, nil
}

// addVerifier takes one more. A password is checked against that for SCRAM only where there is no other: both are made from
// the same password, and one check is dear enough.
func (u *User) addVerifier(v verifier) error {
	alone := len(u.verifiers) == 1 && u.scram != nil && u.verifiers[0].scheme == Scram
	switch {
	case v.scheme == Scram && u.scram != nil:
		return fmt.Errorf("{%s} twice: a login has one salt", Scram)
	case v.scheme == Scram:
		u.scram = v.scram
		if len(u.verifiers) > 0 {
			return nil
		}
	case alone:
		u.verifiers = nil
	}
	u.verifiers = append(u.verifiers, v)
	return nil
}

// splitLine cuts a line into fields at blanks and tabs.
func splitLine(line string) ([]string, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("line longer than %d octets", maxLine)
	}
	if !utf8.ValidString(line) {
		return nil, errors.New("not UTF-8")
	}
	trimmed := strings.Trim(line, " \t")
	if trimmed == "" || trimmed[0] == '#' {
		return nil, nil
	}
	if strings.ContainsFunc(trimmed, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }) {
		return nil, errors.New("control character (lines end with LF alone)")
	}
	return strings.FieldsFunc(trimmed, func(r rune) bool { return r == ' ' || r == '\t' }), nil
}

// set takes one key=value.
func (u *User) set(key, value string) (err error) {
	switch key {
	case "forward":
		u.Forward, err = parseForward(value)
	case "send_as":
		u.SendAs, err = parseSendAs(value)
	case "disabled":
		switch value {
		case "yes":
			u.Disabled = true
		case "no", "":
		default:
			err = errors.New("allowed: yes, no")
		}
	case "quota":
		if value != "" {
			var size config.Size
			err = size.UnmarshalText([]byte(value))
			u.Quota = int64(size)
		}
	case "host":
		if value != "" {
			err = errors.New("not built in this version; allowed: empty")
		}
	default:
		return fmt.Errorf("unknown key %.32q; allowed: quota, forward, send_as, host, disabled", key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func parseForward(value string) ([]mta.Address, error) {
	var all []mta.Address
	if value == "" {
		return nil, nil
	}
	for s := range strings.SplitSeq(value, ",") {
		a, err := mta.ParseAddress(s)
		if err != nil {
			return nil, err
		}
		if all = append(all, a); len(all) > maxForward {
			return nil, fmt.Errorf("more than %d addresses", maxForward)
		}
	}
	return all, nil
}

func parseSendAs(value string) ([]string, error) {
	var all []string
	if value == "" {
		return nil, nil
	}
	for s := range strings.SplitSeq(value, ",") {
		if d, ok := strings.CutPrefix(s, "@"); ok {
			d, err := mta.ParseDomain(d)
			if err != nil {
				return nil, err
			}
			s = "@" + d
		} else {
			a, err := mta.ParseAddress(s)
			if err != nil {
				return nil, err
			}
			s = a.String()
		}
		if all = append(all, s); len(all) > maxSendAs {
			return nil, fmt.Errorf("more than %d addresses", maxSendAs)
		}
	}
	return all, nil
}

func isBlankOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
