package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Problem is one fault of the configuration.
type Problem struct {
	File string
	Line int    // from 1
	Key  string // with its tables, "smtpd.listen.role"; "" where no key is at fault
	Msg  string // what is wrong, then "; allowed: " and what is allowed, where that is not plain
}

// String is `file:line: key: what is wrong; allowed: ...`.
func (p Problem) String() string {
	if p.Key == "" {
		return p.Where() + ": " + p.Msg
	}
	return p.Where() + ": " + p.Key + ": " + p.Msg
}

// Where is the file and, where there is one, the line.
func (p Problem) Where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Errors is all that is wrong with a configuration, in the order of its files and lines. It is never empty.
type Errors []Problem

// Error is a line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// FileFault makes err, of a file that the key of the configuration at path names, a fault of that configuration. A file
// that cannot be read at all is another matter: there err stays as it is.
func FileFault(path, key string, err error) error {
	var unread *fs.PathError
	if err == nil || errors.As(err, &unread) {
		return err
	}
	return Errors{{File: path, Key: key, Msg: err.Error()}}
}

// maxProblems is how many faults are told: a file that is no configuration at all need not be told line by line.
const maxProblems = 100

func (r *reader) sorted() Errors {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(r.order[a.File], r.order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	if len(r.problems) > maxProblems {
		last := r.problems[maxProblems]
		left := len(r.problems) - maxProblems
		r.problems = append(r.problems[:maxProblems], Problem{last.File, last.Line, "", fmt.Sprintf("and %d more faults from here on", left)})
	}
	return r.problems
}
