package smtp

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrSyntax says that a line is no command (500 5.5.2).
var ErrSyntax = errors.New("not a command line")

// Command is a command line, taken apart.
type Command struct {
	Verb string // in capitals
	Args string // without blanks at either end
}

// ParseCommand reads a line without its line end. ErrSyntax: the verb is not letters alone, or there is a control
// character or broken UTF-8 anywhere.
func ParseCommand(line []byte) (Command, error) {
	if !utf8.Valid(line) {
		return Command{}, ErrSyntax
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return Command{}, ErrSyntax
		}
	}
	verb, args, _ := strings.Cut(string(line), " ")
	if verb == "" || len(verb) > 32 {
		return Command{}, ErrSyntax
	}
	for i := 0; i < len(verb); i++ {
		if c := verb[i] | 0x20; c < 'a' || c > 'z' {
			return Command{}, ErrSyntax
		}
	}
	return Command{strings.ToUpper(verb), strings.Trim(args, " \t")}, nil
}
