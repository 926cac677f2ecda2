package smtp

import (
	"errors"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// Errors of the arguments of MAIL and RCPT.
var (
	// ErrArgument says that the argument does not have the form FROM:<path> or TO:<path> (501 5.5.4).
	ErrArgument = errors.New("bad argument")
	// ErrPath says that the path has no good address in it (501 5.1.7 for a sender, 5.1.3 for a recipient).
	ErrPath = errors.New("bad path")
	// ErrParameter says that a parameter has no good form or comes twice (501 5.5.4).
	ErrParameter = errors.New("bad parameter")
)

// ParseFrom reads MAIL's arguments: FROM:<path>, with blanks behind the colon allowed, and parameters. The null
// sender <> is the zero Address.
func ParseFrom(args string) (mta.Address, []Param, error) {
	path, rest, err := cutPath(args, "FROM:")
	if err != nil {
		return mta.Address{}, nil, err
	}
	a := mta.Address{}
	if path != "" {
		if a, err = parsePath(path); err != nil {
			return a, nil, err
		}
	}
	params, err := parseParams(rest)
	return a, params, err
}

// ParseTo reads RCPT's arguments. <postmaster>, in any case, is the Address with that local part and no domain
// (RFC 5321 4.1.1.3).
func ParseTo(args string) (mta.Address, []Param, error) {
	path, rest, err := cutPath(args, "TO:")
	if err != nil {
		return mta.Address{}, nil, err
	}
	a := mta.Address{Local: "postmaster"}
	if !strings.EqualFold(path, a.Local) {
		if a, err = parsePath(path); err != nil {
			return a, nil, err
		}
	}
	params, err := parseParams(rest)
	return a, params, err
}

// cutPath takes the keyword and the path between angle brackets off the front of args.
func cutPath(args, keyword string) (path, rest string, err error) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", "", ErrArgument
	}
	args = strings.TrimLeft(args[len(keyword):], " ")
	if !strings.HasPrefix(args, "<") {
		return "", "", ErrArgument
	}
	quoted := false
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '>':
			if quoted {
				continue
			}
			rest = args[i+1:]
			if rest != "" && rest[0] != ' ' {
				return "", "", ErrArgument
			}
			return args[1:i], rest, nil
		}
	}
	return "", "", ErrArgument
}

// parsePath reads a mailbox, and drops a source route in front of it: RFC 5321 appendix C lets us.
func parsePath(path string) (mta.Address, error) {
	if strings.HasPrefix(path, "@") {
		end := routeEnd(path)
		if end < 0 {
			return mta.Address{}, ErrPath
		}
		route, mailbox := path[:end], path[end+1:]
		for hop := range strings.SplitSeq(route, ",") {
			if !strings.HasPrefix(hop, "@") {
				return mta.Address{}, ErrPath
			}
			if _, err := mta.ParseDomain(hop[1:]); err != nil {
				return mta.Address{}, ErrPath
			}
		}
		path = mailbox
	}
	a, err := mta.ParseAddress(path)
	if err != nil {
		return mta.Address{}, errors.Join(ErrPath, err)
	}
	return a, nil
}

// routeEnd finds the colon behind a source route; an IPv6 literal has colons of its own.
func routeEnd(path string) int {
	literal := false
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '[':
			literal = true
		case c == ']':
			literal = false
		case c == ':' && !literal:
			return i
		}
	}
	return -1
}
