package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of EnableFilter and DisableFilter, wrapped.
var (
	ErrEnabled    = errors.New("is enabled")
	ErrNotEnabled = errors.New("is not enabled")
)

// EnableFilter returns the file of a configuration in which filters.enabled stands, and its text with one name more: in front
// of the name before, or at the end where that is "". All else stays octet by octet. Where no file sets it, it is put into the
// main one. The errors say when several files do, or the configuration is at fault as it is.
func EnableFilter(path, name, before string) (file string, text []byte, err error) {
	e, err := findEnabled(path)
	if err != nil {
		return "", nil, err
	}
	if slices.Contains(e.names, name) {
		return "", nil, fmt.Errorf("%s %w", name, ErrEnabled)
	}
	at := len(e.names)
	if before != "" {
		if at = slices.Index(e.names, before); at < 0 {
			return "", nil, fmt.Errorf("%s %w", before, ErrNotEnabled)
		}
	}
	return e.done(e.insert(name, at), slices.Insert(slices.Clone(e.names), at, name))
}

// DisableFilter is EnableFilter's reverse.
func DisableFilter(path, name string) (file string, text []byte, err error) {
	e, err := findEnabled(path)
	if err != nil {
		return "", nil, err
	}
	at := slices.Index(e.names, name)
	if at < 0 {
		return "", nil, fmt.Errorf("%s %w", name, ErrNotEnabled)
	}
	return e.done(e.remove(at), slices.Delete(slices.Clone(e.names), at, at+1))
}

// enabled is filters.enabled as it stands in a file.
type enabled struct {
	file  string
	text  string
	value *place // nil where no file sets it
	table *place // filters, where the file has it
	names []string
}

func findEnabled(path string) (*enabled, error) {
	r := read(path)
	cfg, err := r.result()
	if err != nil {
		return nil, err
	}
	var found []*enabled
	var main *enabled
	for file := range r.order {
		text, err := readFile(file)
		if err != nil {
			return nil, err
		}
		root, _ := scan(text)
		e := &enabled{file: file, text: text, names: cfg.Filters.Enabled, table: root.keys["filters"]}
		if file == path {
			main = e
		}
		if e.table != nil && e.table.keys["enabled"] != nil {
			e.value = e.table.keys["enabled"]
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return main, nil
	case 1:
		if n := len(found[0].value.items); n != len(cfg.Filters.Enabled) {
			return nil, fmt.Errorf("%s:%d: got %d names where %d are: edit the file by hand", found[0].file, found[0].value.line, n, len(cfg.Filters.Enabled))
		}
		return found[0], nil
	}
	var files []string
	for _, e := range found {
		files = append(files, fmt.Sprintf("%s:%d", e.file, e.value.line))
	}
	slices.Sort(files)
	return nil, fmt.Errorf("filters.enabled is set in several files: %s; edit them by hand, or leave it in one", strings.Join(files, ", "))
}

// insert puts a name in front of the one at i.
func (e *enabled) insert(name string, i int) string {
	quoted := fmt.Sprintf("%q", name)
	switch v := e.value; {
	case v == nil:
		return e.add("enabled = [" + quoted + "]\n")
	case len(v.items) == 0:
		return e.text[:v.from+1] + quoted + e.text[v.from+1:]
	case i < len(v.items):
		at := v.items[i].from
		return e.text[:at] + quoted + ", " + e.text[at:]
	default:
		at := v.items[i-1].to
		return e.text[:at] + ", " + quoted + e.text[at:]
	}
}

// add puts the line behind the one with which the table begins, and makes a table where there is none.
func (e *enabled) add(line string) string {
	text := e.text
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if e.table == nil {
		return text + "\n[filters]\n" + line
	}
	if e.table.to > 0 { // a table in one line, which done refuses
		return text
	}
	at, first := 0, ""
	for range e.table.line {
		n := strings.IndexByte(text[at:], '\n') + 1
		first, at = text[at:at+n], at+n
	}
	if !strings.HasPrefix(strings.TrimLeft(first, " \t"), "[") { // a dotted key
		line = "filters." + line
	}
	return text[:at] + line + text[at:]
}

// remove takes out the name at i, and the line where nothing else stands on it.
func (e *enabled) remove(i int) string {
	items := e.value.items
	from, to := items[i].from, items[i].to
	rest := strings.TrimLeft(e.text[to:], " \t")
	switch {
	case strings.HasPrefix(rest, ","):
		to = len(e.text) - len(rest) + 1
		if i+1 < len(items) {
			to += len(e.text[to:]) - len(strings.TrimLeft(e.text[to:], " \t"))
		}
	case i > 0 && strings.Trim(e.text[items[i-1].to:from], " \t") == ",":
		from = items[i-1].to
	}
	begin := strings.LastIndexByte(e.text[:from], '\n') + 1
	end := strings.IndexByte(e.text[to:], '\n')
	if end >= 0 && strings.TrimSpace(e.text[begin:from]) == "" && strings.TrimSpace(e.text[to:to+end]) == "" {
		return e.text[:begin] + e.text[to+end+1:]
	}
	return e.text[:from] + e.text[to:]
}

// done reads the new text as the file will be read: an edit that does not say what it should is not made.
func (e *enabled) done(text string, want []string) (string, []byte, error) {
	n, problem := parse(e.file, text)
	if problem == nil {
		var got []string
		if v := n.get("filters", "enabled"); v != nil {
			for _, item := range v.list {
				name, _ := item.scalar.(string)
				got = append(got, name)
			}
		}
		if slices.Equal(got, want) {
			return e.file, []byte(text), nil
		}
	}
	return "", nil, fmt.Errorf("%s: its filters.enabled stands in a way that cannot be rewritten: edit it by hand", e.file)
}
