package directory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// ErrExists says that an address is in the users file already.
var ErrExists = errors.New("user exists already")

// Lines is the users file while Update changes it.
type Lines struct {
	all     []string // each with its line end, if it has one
	changed bool
}

func newLines(data []byte) *Lines {
	l := &Lines{}
	for raw := range bytes.Lines(data) {
		l.all = append(l.all, string(raw))
	}
	return l
}

func (l *Lines) bytes() []byte { return []byte(strings.Join(l.all, "")) }

// Users returns the users in the file's order; lines with a fault are left out.
func (l *Lines) Users() []User {
	var all []User
	for i, raw := range l.all {
		if u, err := parseLine(strings.TrimSuffix(raw, "\n")); err == nil && u != nil {
			u.line = i + 1
			all = append(all, *u)
		}
	}
	return all
}

// find returns the index of an address's line. A line that names the address and has a fault elsewhere is an error, for no
// change could be right.
func (l *Lines) find(a mta.Address) (int, error) {
	for i, raw := range l.all {
		line := strings.TrimSuffix(raw, "\n")
		u, err := parseLine(line)
		switch {
		case err == nil && u == nil:
		case err == nil && fold(u.Address) == fold(a):
			return i, nil
		case err != nil && names(line, a):
			return 0, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return 0, fmt.Errorf("%s: %w", a, ErrUnknown)
}

// Find returns the user with an address, without regard to case; ErrUnknown if there is none.
func (l *Lines) Find(a mta.Address) (User, error) {
	i, err := l.find(a)
	if err != nil {
		return User{}, err
	}
	u, err := parseLine(strings.TrimSuffix(l.all[i], "\n"))
	if err != nil {
		return User{}, err
	}
	u.line = i + 1
	return *u, nil
}

// names says whether a faulty line begins with the address.
func names(line string, a mta.Address) bool {
	first := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(first) == 0 {
		return false
	}
	got, err := mta.ParseAddress(first[0])
	return err == nil && fold(got) == fold(a)
}

// Add appends a user with verifiers as NewVerifier makes them, possibly none; ErrExists if the address is there.
func (l *Lines) Add(a mta.Address, verifiers ...string) error {
	switch _, err := l.find(a); {
	case err == nil:
		return fmt.Errorf("%s: %w", a, ErrExists)
	case !errors.Is(err, ErrUnknown):
		return err
	}
	line := strings.Join(append([]string{a.String()}, verifiers...), " ")
	switch u, err := parseLine(line); {
	case err != nil:
		return err
	case u == nil:
		return fmt.Errorf("%s: the users file takes a line that begins with # for a comment", a)
	}
	if n := len(l.all); n > 0 && !strings.HasSuffix(l.all[n-1], "\n") {
		l.all[n-1] += "\n"
	}
	l.needSaltKey(verifiers)
	l.all = append(l.all, line+"\n")
	l.changed = true
	return nil
}

// needSaltKey gives the file its salt key as soon as it has a verifier for SCRAM.
func (l *Lines) needSaltKey(verifiers []string) {
	scram := func(v string) bool { return strings.HasPrefix(v, "{"+Scram+"}") }
	if slices.ContainsFunc(verifiers, scram) && !slices.ContainsFunc(l.all, isNobody) {
		l.all = append(l.all, newSaltKeyLine()+"\n")
	}
}

// SetVerifiers puts verifiers in place of all that a user has; the keys stay. ErrUnknown if there is no such user.
func (l *Lines) SetVerifiers(a mta.Address, verifiers ...string) error {
	err := l.edit(a, func(fields []string) []string {
		keep := append(fields[:1:1], verifiers...)
		for _, f := range fields[1:] {
			if !strings.HasPrefix(f, "{") {
				keep = append(keep, f)
			}
		}
		return keep
	})
	if err == nil {
		l.needSaltKey(verifiers)
	}
	return err
}

// Set gives a user's key another value, and takes it out where the value is empty. ErrUnknown if there is no such user.
func (l *Lines) Set(a mta.Address, key, value string) error {
	return l.edit(a, func(fields []string) []string {
		fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, key+"=") })
		if value != "" {
			fields = append(fields, key+"="+value)
		}
		return fields
	})
}

// edit puts what change makes of the fields of a user's line in place of them, unless that would be no good line.
func (l *Lines) edit(a mta.Address, change func(fields []string) []string) error {
	i, err := l.find(a)
	if err != nil {
		return err
	}
	fields, err := splitLine(strings.TrimSuffix(l.all[i], "\n"))
	if err != nil {
		return err
	}
	line := strings.Join(change(fields), " ")
	if _, err := parseLine(line); err != nil {
		return err
	}
	l.all[i] = line + "\n"
	l.changed = true
	return nil
}

// Remove takes a user's line out; ErrUnknown if there is no such user.
func (l *Lines) Remove(a mta.Address) error {
	i, err := l.find(a)
	if err != nil {
		return err
	}
	l.all = slices.Delete(l.all, i, i+1)
	l.changed = true
	return nil
}
