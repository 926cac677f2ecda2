package config

import (
	"strconv"
	"strings"
)

// place is where a value stands: the line of its key, and the places of what it holds. The TOML decoder tells no lines
// of values, so scan finds them in text that the decoder has already found to be valid; what it cannot find takes the
// line of the table around it.
type place struct {
	line  int
	from  int // where the value's text begins
	to    int // and ends; both 0 for a table of its own lines
	keys  map[string]*place
	items []*place
}

// maxDepth bounds the nesting of values, and so the recursion over them: the decoder takes minutes where it is deep.
const maxDepth = 64

// scan reads text that need not be TOML; deep says that values or keys are nested beyond maxDepth.
func scan(text string) (root *place, deep bool) {
	s := &scanner{text: text, line: 1}
	root = &place{line: 1}
	s.file(root)
	return root, s.deep
}

type scanner struct {
	text  string
	i     int
	line  int
	depth int
	deep  bool
}

func (s *scanner) peek(prefix string) bool { return strings.HasPrefix(s.text[s.i:], prefix) }
func (s *scanner) end() bool               { return s.i >= len(s.text) }

func (s *scanner) advance(n int) {
	n = min(n, len(s.text)-s.i)
	s.line += strings.Count(s.text[s.i:s.i+n], "\n")
	s.i += n
}

func (s *scanner) take(prefix string) bool {
	if !s.peek(prefix) {
		return false
	}
	s.advance(len(prefix))
	return true
}

// blanks skips blanks, line ends and comments, and what more the caller lets stand between.
func (s *scanner) blanks(more string) {
	for !s.end() {
		switch c := s.text[s.i]; {
		case c == '#':
			n := strings.IndexByte(s.text[s.i:], '\n')
			if n < 0 {
				n = len(s.text) - s.i
			}
			s.advance(n)
		case strings.IndexByte(" \t\r\n", c) >= 0 || strings.IndexByte(more, c) >= 0:
			s.advance(1)
		default:
			return
		}
	}
}

func (s *scanner) file(root *place) {
	table := root
	for s.blanks(""); !s.end(); s.blanks("") {
		was := s.i
		line := s.line
		switch {
		case s.take("[["):
			path := s.path()
			s.take("]]")
			p := root.walk(path, line)
			table = &place{line: line}
			p.items = append(p.items, table)
		case s.take("["):
			path := s.path()
			s.take("]")
			table = root.walk(path, line)
		default:
			s.pair(table)
		}
		if s.i == was { // text that is no TOML: there is nothing to find here
			s.advance(1)
		}
	}
}

// walk goes down path and makes what is not there; the last item stands for an array of tables.
func (p *place) walk(path []string, line int) *place {
	for i, name := range path {
		if p.keys == nil {
			p.keys = map[string]*place{}
		}
		next := p.keys[name]
		if next == nil {
			next = &place{line: line}
			p.keys[name] = next
		}
		if n := len(next.items); n > 0 && i < len(path)-1 {
			next = next.items[n-1]
		}
		p = next
	}
	return p
}

func (s *scanner) pair(table *place) {
	line := s.line
	path := s.path()
	if len(path) == 0 || !s.take("=") {
		return
	}
	s.value(table.walk(path, line))
}

// path reads a dotted key.
func (s *scanner) path() []string {
	var path []string
	for {
		s.blanks("")
		name, ok := s.key()
		if !ok {
			return path
		}
		if path = append(path, name); len(path) > maxDepth {
			s.tooDeep()
		}
		s.blanks("")
		if !s.take(".") {
			return path
		}
	}
}

func (s *scanner) key() (string, bool) {
	if s.end() {
		return "", false
	}
	if c := s.text[s.i]; c == '"' || c == '\'' {
		raw := s.quoted()
		if c == '"' {
			if name, err := strconv.Unquote(raw); err == nil {
				return name, true
			}
		}
		return strings.Trim(raw, string(c)), true
	}
	n := strings.IndexFunc(s.text[s.i:], func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	if n < 0 {
		n = len(s.text) - s.i
	}
	name := s.text[s.i : s.i+n]
	s.advance(n)
	return name, n > 0
}

// quoted takes a string of any of the four kinds and returns it with its quotation marks.
func (s *scanner) quoted() string {
	from, mark := s.i, s.text[s.i:s.i+1]
	escapes := mark == `"`
	if long := strings.Repeat(mark, 3); s.peek(long) {
		mark = long
	}
	s.advance(len(mark))
	for !s.end() {
		if escapes && s.text[s.i] == '\\' {
			s.advance(2)
			continue
		}
		if s.take(mark) {
			for len(mark) == 3 && s.take(mark[:1]) { // up to two more may stand before the end
			}
			break
		}
		s.advance(1)
	}
	return s.text[from:s.i]
}

// tooDeep ends the scan.
func (s *scanner) tooDeep() { s.deep, s.i = true, len(s.text) }

func (s *scanner) value(p *place) {
	s.blanks("")
	if s.end() {
		return
	}
	p.from = s.i
	defer func() { p.to = s.i }()
	switch s.text[s.i] {
	case '"', '\'':
		s.quoted()
	case '[', '{':
		if s.depth++; s.depth <= maxDepth {
			s.nested(p)
		} else {
			s.tooDeep()
		}
		s.depth--
	default:
		for !s.end() && strings.IndexByte(",]}\n#", s.text[s.i]) < 0 {
			s.advance(1)
		}
	}
}

// nested takes an array or an inline table.
func (s *scanner) nested(p *place) {
	array := s.text[s.i] == '['
	s.advance(1)
	for {
		s.blanks(",")
		if s.end() || s.take("]") || s.take("}") {
			return
		}
		was := s.i
		if array {
			item := &place{line: s.line}
			p.items = append(p.items, item)
			s.value(item)
		} else {
			s.pair(p)
		}
		if s.i == was {
			s.advance(1)
		}
	}
}
