package main

import (
	"errors"
	"strings"
)

// spot is one address in a list: the address without comments and blanks, and where the text of its local part ends.
type spot struct {
	text   string
	end    int
	domain bool // it has one
}

var errAddressList = errors.New("no list of addresses (RFC 5322 3.4)")

// parseList finds the addresses of an address-list of RFC 5322 3.4, with what 4.4 allows from older times: groups, names,
// comments, routes, empty members, blanks and line ends anywhere between words. Whether an address is a good one is not its
// matter.
func parseList(s string) ([]spot, error) {
	p := listParser{s: s}
	for p.i < len(s) {
		if err := p.word(); err != nil {
			return nil, err
		}
	}
	if err := p.finish(); err != nil || p.angle != outside {
		return nil, errAddressList
	}
	return p.spots, nil
}

type angle uint8

const (
	outside angle = iota // of <>
	inside
	behind
)

type listParser struct {
	s     string
	i     int
	spots []spot
	angle angle
	cur   spot
	glue  bool // the next word belongs to the one before: one of them is a dot or an @
	loose bool // there are two words side by side: a name, and no address
}

// word takes one token of RFC 5322 3.2 off the text.
func (p *listParser) word() error {
	switch c := p.s[p.i]; c {
	case ' ', '\t', '\r', '\n':
		p.i++
	case '(':
		return p.comment()
	case '<':
		if p.angle != outside {
			return errAddressList
		}
		p.angle, p.cur, p.glue, p.loose = inside, spot{}, false, false
		p.i++
	case '>':
		if p.angle != inside {
			return errAddressList
		}
		p.angle = behind
		p.i++
	case ':':
		if p.angle == behind {
			return errAddressList
		}
		p.cur, p.glue, p.loose = spot{}, false, false // a group's name, or a route
		p.i++
	case ',', ';':
		if p.angle == inside { // in a route
			if c == ';' {
				return errAddressList
			}
			p.cur, p.glue, p.loose = spot{}, false, false
			p.i++
			return nil
		}
		p.i++
		return p.finish()
	case '"':
		return p.quoted()
	case '[':
		return p.literal()
	case ')', ']', '\\':
		return errAddressList
	case '@', '.':
		p.i++
		p.add(string(c), true)
	default:
		n := strings.IndexAny(p.s[p.i:], " \t\r\n()<>[]:;@\\,.\"")
		if n < 0 {
			n = len(p.s) - p.i
		}
		p.i += n
		p.add(p.s[p.i-n:p.i], false)
	}
	return nil
}

// add takes a piece of an address or a name; what stands behind an address in <> does not count.
func (p *listParser) add(text string, joint bool) {
	if p.angle == behind {
		return
	}
	p.loose = p.loose || p.cur.text != "" && !joint && !p.glue
	p.glue = joint
	if p.cur.text += text; text == "@" {
		p.cur.domain = true
	} else if !p.cur.domain {
		p.cur.end = p.i
	}
}

// finish ends a member of the list.
func (p *listParser) finish() error {
	cur, at, loose := p.cur, p.angle, p.loose
	p.cur, p.angle, p.glue, p.loose = spot{}, outside, false, false
	switch {
	case at == inside, loose:
		return errAddressList
	case cur.text == "" && at == outside: // nothing between two commas
		return nil
	}
	p.spots = append(p.spots, cur)
	return nil
}

func (p *listParser) comment() error {
	for depth := 0; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '\\':
			p.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.i++
				return nil
			}
		}
	}
	return errAddressList
}

func (p *listParser) quoted() error {
	for j := p.i + 1; j < len(p.s); j++ {
		switch p.s[j] {
		case '\\':
			j++
		case '"':
			text := p.s[p.i : j+1]
			p.i = j + 1
			p.add(strings.NewReplacer("\r\n", "", "\n", "").Replace(text), false)
			return nil
		}
	}
	return errAddressList
}

func (p *listParser) literal() error {
	n := strings.IndexByte(p.s[p.i:], ']')
	if n < 0 {
		return errAddressList
	}
	p.i += n + 1
	p.add(p.s[p.i-n-1:p.i], false)
	return nil
}
