package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// node is one value of the files, with the place where it stands. It is a table, an array, or a scalar.
type node struct {
	file   string
	line   int
	table  map[string]*node // nil: no table
	list   []*node          // the items of an array
	array  bool
	scalar any // string, int64, float64, bool or time.Time
}

// parse reads the text of one file.
func parse(file, text string) (*node, *Problem) {
	places, deep := scan(text)
	if deep {
		return nil, &Problem{File: file, Line: 1, Msg: fmt.Sprintf("values nested too deep; allowed: %d levels", maxDepth)}
	}
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		p := &Problem{File: file, Line: 1, Msg: err.Error()}
		var pe toml.ParseError
		if errors.As(err, &pe) {
			p.Line, p.Key, p.Msg = max(pe.Position.Line, 1), pe.LastKey, "no TOML: "+strings.TrimSpace(pe.Message)
		}
		return nil, p
	}
	return build(file, tree, places, 1), nil
}

// build joins a value with its place; what has no place of its own stands on the line of what holds it.
func build(file string, value any, p *place, line int) *node {
	if p != nil {
		line = p.line
	}
	n := &node{file: file, line: line}
	switch v := value.(type) {
	case map[string]any:
		n.table = make(map[string]*node, len(v))
		for k, e := range v {
			var at *place
			if p != nil {
				at = p.keys[k]
			}
			n.table[k] = build(file, e, at, line)
		}
	case []map[string]any:
		n.array = true
		for i, e := range v {
			n.list = append(n.list, build(file, e, p.item(i), line))
		}
	case []any:
		n.array = true
		for i, e := range v {
			n.list = append(n.list, build(file, e, p.item(i), line))
		}
	default:
		n.scalar = v
	}
	return n
}

func (p *place) item(i int) *place {
	if p == nil || i >= len(p.items) {
		return nil
	}
	return p.items[i]
}

// keys returns the keys of a table in the order of the file.
func (n *node) keys() []string {
	return slices.SortedFunc(maps.Keys(n.table), func(a, b string) int {
		return cmp.Or(cmp.Compare(n.table[a].line, n.table[b].line), cmp.Compare(a, b))
	})
}

// get goes down a path of tables; nil where no file sets it.
func (n *node) get(path ...string) *node {
	for _, k := range path {
		if n == nil {
			return nil
		}
		n = n.table[k]
	}
	return n
}

// item returns an item of an array; nil where there is none.
func (n *node) item(i int) *node {
	if n == nil || i >= len(n.list) {
		return nil
	}
	return n.list[i]
}

// what names the kind of a value for a person.
func (n *node) what() string {
	switch v := n.scalar.(type) {
	case string:
		return "a string"
	case int64:
		return "the whole number " + strconv.FormatInt(v, 10)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	switch {
	case n.table != nil:
		return "a table"
	case n.array:
		return "an array"
	}
	return "a date or time"
}

// joinKey is the name of a key inside a table, quoted as TOML wants it.
func joinKey(table, key string) string {
	bare := key != "" && strings.IndexFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
	if !bare {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

// merge adds the values of src, a file included later, to dst.
func (r *reader) merge(dst, src *node, table string) {
	for _, k := range src.keys() {
		s, key := src.table[k], joinKey(table, k)
		d := dst.table[k]
		switch {
		case d == nil:
			dst.table[k] = s
		case d.table != nil && s.table != nil:
			r.merge(d, s, key)
		case d.array && s.array:
			d.list = append(d.list, s.list...)
		default:
			r.fault(s, key, "set twice, here and at %s:%d; allowed: once", d.file, d.line)
		}
	}
}
