// Package shellsafe makes of what a stranger has chosen a word for the environment of a program, which may be a script that
// forgets its quotation marks.
package shellsafe

import (
	"strings"
	"unicode"
)

// Word returns s with _ for each character that could split a word, match files or be a command to a shell, and for a - or .
// at the beginning: it is no option and no hidden file. Letters and digits of all scripts stay, and @_=+%:,-. beside, which are
// Postfix's but for the blank. In also are those that stay too.
func Word(s, also string) string {
	first := true
	return strings.Map(func(c rune) rune {
		ok := unicode.IsLetter(c) || unicode.IsMark(c) || unicode.IsDigit(c) || strings.ContainsRune("@_=+%:,"+also, c) || !first && (c == '-' || c == '.')
		if first = false; ok {
			return c
		}
		return '_'
	}, s)
}
