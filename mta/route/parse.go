package route

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/dns"
)

// Bounds of an aliases file.
const (
	maxAliasFile   = 16 << 20
	maxAliasFaults = 50 // more are counted, not shown
)

// aliasTable holds targets by folded name; a name without a domain is for every domain that uses the file, and so is a
// target without one a name in the domain that is asked about.
type aliasTable map[mta.Address][]mta.Address

// lookup returns the targets of a name, nil when it has none. The name with its domain comes before the name alone.
func (t aliasTable) lookup(a mta.Address) []mta.Address {
	key := foldAddress(a)
	list, ok := t[key]
	if !ok {
		list = t[mta.Address{Local: key.Local}]
	}
	var out []mta.Address
	for _, v := range list {
		if v.Domain == "" {
			v.Domain = a.Domain
		}
		out = append(out, v)
	}
	return out
}

// byteOrderMark stands in front of the files of some editors.
var byteOrderMark = []byte("\ufeff")

// aliasEntry is one logical line: a line with the lines that continue it.
type aliasEntry struct {
	line int // number of its first line
	text string
}

// parseAliases reads the form of aliases(5): "name: target, target", a line that begins with a blank continues the one
// before it, "#" begins a comment line. Names and targets may be quoted. All faults are in the error, each as
// path:line: what is wrong.
//
// Include reads a file that a target names with :include:.
func parseAliases(path string, b []byte, include includer) (aliasTable, error) {
	t, lines := aliasTable{}, map[mta.Address]int{}
	var faults []error
	more := 0
	fault := func(line int, err error) {
		if len(faults) == maxAliasFaults {
			more++
			return
		}
		faults = append(faults, fmt.Errorf("%s:%d: %w", path, line, err))
	}
	for _, e := range aliasEntries(bytes.TrimPrefix(b, byteOrderMark), fault) {
		name, targets, err := parseEntry(e.text, include)
		if err != nil {
			fault(e.line, err)
			continue
		}
		if first := lines[name]; first > 0 {
			fault(e.line, fmt.Errorf("%s is already defined on line %d", name, first))
			continue
		}
		t[name], lines[name] = targets, e.line
	}
	if more > 0 {
		faults = append(faults, fmt.Errorf("%s: %d more faults", path, more))
	}
	return t, errors.Join(faults...)
}

// aliasEntries joins continued lines and leaves out comments and blank lines, which do not end an entry.
func aliasEntries(b []byte, fault func(int, error)) []aliasEntry {
	var list []aliasEntry
	var text strings.Builder
	flush := func() {
		if len(list) > 0 && list[len(list)-1].text == "" {
			list[len(list)-1].text = text.String()
		}
		text.Reset()
	}
	n := 0
	for raw := range bytes.Lines(b) {
		n++
		line := string(bytes.TrimRight(raw, "\r\n"))
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case !utf8.ValidString(line) || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			fault(n, errors.New("control character, or not UTF-8"))
		case len(trimmed) == len(line):
			flush()
			list = append(list, aliasEntry{line: n})
			text.WriteString(line)
		case len(list) == 0:
			fault(n, errors.New("begins with a blank, but there is no line that it could continue"))
		default:
			text.WriteString(" " + trimmed)
		}
	}
	flush()
	return list
}

func parseEntry(s string, include includer) (name mta.Address, targets []mta.Address, err error) {
	name, rest, err := parseName(s, ":")
	rest, ok := strings.CutPrefix(rest, ":")
	switch {
	case err != nil && (ok || strings.HasPrefix(s, `"`)):
		return name, nil, fmt.Errorf("name: %w", err)
	case !ok:
		return name, nil, errors.New(`want "name: target, target"`)
	}
	if targets, err = parseTargets(rest, include); err != nil {
		return name, nil, err
	}
	if len(targets) == 0 {
		return name, nil, fmt.Errorf("%s has no target", name)
	}
	return foldAddress(name), targets, nil
}

// includer returns the targets that a file lists.
type includer func(path string) ([]mta.Address, error)

// parseTargets reads a list of targets. Without an includer there may be no :include: among them.
func parseTargets(rest string, include includer) (targets []mta.Address, err error) {
	for rest = trimBlanks(rest); rest != ""; rest = trimBlanks(rest) {
		var more []mta.Address
		if path, behind, ok := cutInclude(rest); ok && include != nil {
			more, err = include(path)
			rest = behind
		} else {
			more = make([]mta.Address, 1)
			more[0], rest, err = parseTarget(rest)
		}
		if err != nil {
			return nil, err
		}
		if targets = append(targets, more...); len(targets) > MaxMembers {
			return nil, fmt.Errorf("more than %d targets", MaxMembers)
		}
		var ok bool
		if rest, ok = strings.CutPrefix(rest, ","); !ok && rest != "" {
			return nil, fmt.Errorf("want a comma before %.40q", rest)
		}
	}
	return targets, nil
}

const includeWord = ":include:"

// cutInclude takes :include:/path, which may be in quotes, off the front of s.
func cutInclude(s string) (path, rest string, ok bool) {
	end := ","
	if strings.HasPrefix(s, `"`) {
		s, end = s[1:], `"`
	}
	if len(s) < len(includeWord) || !strings.EqualFold(s[:len(includeWord)], includeWord) {
		return "", "", false
	}
	s = s[len(includeWord):]
	path, _, _ = strings.Cut(s, end)
	if rest = s[len(path):]; end == `"` {
		rest = strings.TrimPrefix(rest, end)
	}
	return trimBlanks(path), trimBlanks(rest), true
}

// parseInclude reads an included file: lists of targets, each on a line of its own, and comments behind "#".
func parseInclude(path string, b []byte) ([]mta.Address, error) {
	var all []mta.Address
	n := 0
	for raw := range bytes.Lines(bytes.TrimPrefix(b, byteOrderMark)) {
		n++
		line := trimBlanks(string(bytes.TrimRight(raw, "\r\n")))
		if line == "" || line[0] == '#' {
			continue
		}
		list, err := parseTargets(line, nil)
		if err == nil && slices.ContainsFunc(list, func(a mta.Address) bool { return a.Domain == programDomain }) {
			err = errors.New("a program stands in an aliases file itself, not in one that it includes")
		}
		if err == nil && len(all)+len(list) > MaxMembers {
			err = fmt.Errorf("more than %d targets", MaxMembers)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// parseTarget reads an address, and names the forms of aliases(5) that are no address.
func parseTarget(s string) (v mta.Address, rest string, err error) {
	plain := strings.TrimPrefix(s, `"`)
	switch {
	case strings.HasPrefix(plain, "|"):
		return parseProgram(s)
	case strings.HasPrefix(plain, "/"):
		word, rest, err := cutWord(s)
		if err == nil && word != "/dev/null" {
			err = errors.New("delivery to files is not possible; use an address, or /dev/null")
		}
		return nowhere, rest, err
	case len(plain) >= 9 && strings.EqualFold(plain[:9], ":include:"):
		return v, "", errors.New(":include: is not possible inside an included file")
	}
	s, box := strings.CutPrefix(s, `\`)
	if v, rest, err = parseName(s, ","); err != nil {
		return v, rest, fmt.Errorf("target: %w", err)
	}
	if box {
		v.Local = boxMark + v.Local
	}
	return v, rest, nil
}

// parseProgram reads |NAME, which may be in quotes: the name of a table in [programs], and no command.
func parseProgram(s string) (v mta.Address, rest string, err error) {
	word, rest, err := cutWord(s)
	if err != nil {
		return v, "", err
	}
	name := trimBlanks(word[1:])
	if name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return v, "", fmt.Errorf("%.80q is no program here; allowed: |NAME, as in [programs.NAME] of the configuration", word)
	}
	return programTarget(name), rest, nil
}

// cutWord takes what is no address, and may be in quotes, off the front of a list.
func cutWord(s string) (word, rest string, err error) {
	end := ","
	if strings.HasPrefix(s, `"`) {
		s, end = s[1:], `"`
	}
	word, _, _ = strings.Cut(s, end)
	if rest = s[len(word):]; end == `"` {
		var closed bool
		if rest, closed = strings.CutPrefix(rest, end); !closed {
			return "", "", errors.New("quotation mark without an end")
		}
	}
	return trimBlanks(word), trimBlanks(rest), nil
}

// bare takes a name or a comment away that stands beside an address (RFC 5322 3.4).
func bare(word string) string {
	if i := strings.LastIndexByte(word, '<'); i >= 0 && strings.HasSuffix(word, ">") {
		return word[i+1 : len(word)-1]
	}
	if i := strings.IndexByte(word, '('); i > 0 && strings.HasSuffix(word, ")") {
		return trimBlanks(word[:i])
	}
	return word
}

// parseName reads an address, or a local part alone, up to end; quotes may hold end and blanks.
func parseName(s, end string) (a mta.Address, rest string, err error) {
	n := 0
	if strings.HasPrefix(s, `"`) {
		for n = 1; n < len(s) && s[n] != '"'; n++ {
			if s[n] == '\\' {
				n++
			}
		}
		if n >= len(s) {
			return a, "", errors.New("quotation mark without an end")
		}
	}
	if i := strings.Index(s[n:], end); i >= 0 {
		n += i
	} else {
		n = len(s)
	}
	word, rest := trimBlanks(s[:n]), s[n:]
	if end == "," {
		word = bare(word)
	}
	if a, err = mta.ParseAddress(word); err == nil {
		if ascii, aerr := dns.ASCII(a.Domain); aerr == nil {
			a.Domain = ascii
		}
		return a, rest, nil
	}
	if local, lerr := mta.ParseAddress(word + "@localhost"); lerr == nil {
		return mta.Address{Local: local.Local}, rest, nil
	}
	return a, rest, fmt.Errorf("%.80q: %w", word, err)
}

func trimBlanks(s string) string { return strings.Trim(s, " \t") }
