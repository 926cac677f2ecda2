package pop3d

import (
	"context"
	"io"
	"strings"
)

// utf8Mode is UTF8 (RFC 6856 2). It changes nothing unless Options.RefuseUTF8 is set: messages go out as they are stored.
func (s *session) utf8Mode(_ context.Context, arg string) error {
	if arg != "" {
		return s.err("UTF8 takes no argument")
	}
	s.utf8 = true
	return s.ok("UTF8 enabled")
}

// asciiHeader says whether a message's header is all ASCII. It reads from the beginning of r, up to the empty line.
func asciiHeader(r io.ReaderAt) (bool, error) {
	lent := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(lent)
	var header topCut
	for at := int64(0); ; {
		n, err := r.ReadAt(lent[:], at)
		block, end := header.take(lent[:n])
		for _, c := range block {
			if c >= 0x80 {
				return false, nil
			}
		}
		if end || err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		at += int64(n)
	}
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
