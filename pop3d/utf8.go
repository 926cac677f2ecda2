package pop3d

import (
	"context"
	"strings"
)

// utf8Mode is UTF8 (RFC 6856 2). Messages go out as they are stored in either mode: a client that does not say UTF8 gets
// what is written in UTF-8 as it stands, for to refuse it would leave it in the mailbox for ever.
func (s *session) utf8Mode(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("UTF8 takes no argument")
	}
	s.utf8 = true
	return s.ok("UTF8 enabled")
}

// languages are those of our answers (RFC 5646); the first is the default. The second is what RFC 6856 3 has for a text
// that every operator can read.
var languages = [...]struct{ tag, name string }{{"en", "English"}, {"i-default", "Default language"}}

// lang is LANG (RFC 6856 3): a list without an argument, else a choice. The default is "*"; en-GB will do as en.
func (s *session) lang(_ context.Context, arg string) error {
	if arg == "*" {
		return s.ok("%s the default language it is", languages[0].tag)
	}
	if arg == "" {
		if err := s.ok("languages follow"); err != nil {
			return err
		}
		for _, l := range languages {
			if err := s.line(l.tag + " " + l.name); err != nil {
				return err
			}
		}
		return s.endList()
	}
	for _, l := range languages {
		if rest, ok := strings.CutPrefix(strings.ToLower(arg), l.tag); ok && (rest == "" || rest[0] == '-') {
			return s.ok("%s it is", l.tag)
		}
	}
	return s.err("no such language here")
}
