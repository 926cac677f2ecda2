package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/posthouse-mail/posthouse/mta/conffile"
)

// DefaultPath is where every program looks for its configuration.
const DefaultPath = "/etc/posthouse/posthouse.toml"

// Bounds of what is read.
const (
	maxFile     = 1 << 20
	maxIncludes = 1000
)

// Load reads the file at path and what it includes, fills in the defaults, and checks all of it, with the files that
// it names. The error is Errors, with every fault.
func Load(path string) (*Config, error) {
	r := read(path)
	if r.cfg != nil {
		r.checkFiles()
	}
	return r.result()
}

// Read is Load without a look at the files that the configuration names: for what makes these files.
func Read(path string) (*Config, error) { return read(path).result() }

// reader is one reading of the configuration.
type reader struct {
	path     string // of the main file
	root     *node  // the values of all files
	cfg      *Config
	domains  map[string]*node // by the key of Config.Domains; none for the implicit one
	broken   map[*node]bool   // values that have no meaning
	order    map[string]int   // files, in the order of their reading
	problems []Problem
}

func (r *reader) result() (*Config, error) {
	if len(r.problems) > 0 {
		return nil, r.sorted()
	}
	return r.cfg, nil
}

// read does all that needs no other file; cfg is nil where the files cannot be read at all.
func read(path string) *reader {
	r := &reader{path: path, order: map[string]int{}, broken: map[*node]bool{}}
	main := r.file(path, nil, "")
	if main == nil {
		return r
	}
	r.root = main
	r.includes(main)
	cfg := &Config{}
	if err := setDefaults(cfg); err != nil {
		r.fault(nil, "", "%v", err)
		return r
	}
	r.bindStruct(r.root, "", cfg)
	r.cfg = cfg
	r.check()
	return r
}

// fault notes what is wrong with the value at n; a value that no file sets is at fault on the first line.
func (r *reader) fault(n *node, key, format string, args ...any) {
	if r.broken[n] {
		return
	}
	p := Problem{File: r.path, Line: 1, Key: key, Msg: fmt.Sprintf(format, args...)}
	if n != nil {
		p.File, p.Line = n.file, n.line
	}
	r.problems = append(r.problems, p)
}

// file reads one file; at is the value that names it, nil for the main file.
func (r *reader) file(path string, at *node, key string) *node {
	text, err := readFile(path)
	switch {
	case at == nil && errors.Is(err, fs.ErrNotExist):
		r.fault(at, key, "%v; posthouse setup DOMAIN makes the first", err)
		return nil
	case err != nil:
		r.fault(at, key, "%v", err)
		return nil
	}
	r.order[path] = len(r.order)
	n, problem := parse(path, text)
	if problem != nil {
		r.problems = append(r.problems, *problem)
	}
	return n
}

func readFile(path string) (string, error) {
	b, st, err := conffile.Read(path, maxFile)
	if err != nil {
		return "", err
	}
	if err := trusted(st); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return string(b), nil
}

// trusted refuses a file that someone else than the operator can have written.
func trusted(st fs.FileInfo) error {
	if st.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("everybody may write it (mode %04o); allowed: no write permission for others (chmod o-w)", st.Mode().Perm())
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d; allowed: root, or the user that runs the program (%d)", sys.Uid, os.Geteuid())
	}
	return nil
}

// includes adds the files that the main file names.
func (r *reader) includes(main *node) {
	inc := main.get("include")
	if inc == nil {
		return
	}
	count := 0
	for _, item := range inc.list {
		pattern, ok := item.scalar.(string)
		if !ok {
			continue // the binding of the key tells its type
		}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(r.path), pattern)
		}
		names, err := filepath.Glob(pattern)
		if err != nil {
			r.fault(item, "include", "%q is no pattern: %v", item.scalar, err)
			continue
		}
		if len(names) == 0 && !hasMeta(pattern) {
			r.fault(item, "include", "%s: no such file; allowed: a file that is there, or a pattern", pattern)
		}
		for _, name := range names {
			if count++; count > maxIncludes {
				r.fault(item, "include", "too many files; allowed: %d", maxIncludes)
				return
			}
			r.includeFile(main, name, item)
		}
	}
}

func (r *reader) includeFile(main *node, name string, at *node) {
	if _, again := r.order[name]; again {
		r.fault(at, "include", "%s is read twice; allowed: once", name)
		return
	}
	n := r.file(name, at, "include")
	if n == nil {
		return
	}
	if inner := n.get("include"); inner != nil {
		r.fault(inner, "include", "in an included file; allowed: in the main file alone")
		delete(n.table, "include")
	}
	r.merge(main, n, "")
}

func hasMeta(pattern string) bool {
	for _, c := range pattern {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			return true
		}
	}
	return false
}
