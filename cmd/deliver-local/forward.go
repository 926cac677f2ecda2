package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/asuser"
)

// Bounds of a ~/.forward with all that it includes.
const (
	maxForward  = 64 << 10
	maxIncludes = 20
	maxNesting  = 5
)

// forward reads one user's ~/.forward.
type forward struct {
	home, user string
	domain     string // completes an address without one
	uid, gid   uint32
	noPrograms error // why none is run; nil: they are
	includes   int
	targets    []asuser.Target
	seen       map[asuser.Target]bool
}

// findForward returns the file that says where mail to the user goes: that of the extension before the one of all mail; ""
// where there is none.
func findForward(home, extension string) (string, error) {
	names := []string{".forward"}
	if isSafe(extension) {
		names = []string{".forward+" + strings.ToLower(extension), ".forward"}
	}
	for _, name := range names {
		path := filepath.Join(home, name)
		_, err := os.Lstat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// isSafe says whether what a stranger put behind the delimiter can be a part of a file name.
func isSafe(extension string) bool {
	return extension != "" && len(extension) <= 64 && strings.Trim(strings.ToLower(extension), "abcdefghijklmnopqrstuvwxyz0123456789-_+=.") == ""
}

// read adds what a file names.
func (f *forward) read(path string, depth int) error {
	text, err := f.open(path)
	if err != nil {
		return err
	}
	for i, line := range strings.Split(text, "\n") {
		if err := f.line(strings.TrimSpace(line), depth); err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return nil
}

// open reads a file that nobody but the user, or root, can have written.
func (f *forward) open(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would make us wait
	if err != nil {
		return "", err
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return "", err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", fmt.Errorf("%s: not a regular file", path)
	case st.Uid != f.uid && st.Uid != 0:
		return "", fmt.Errorf("%s: it belongs to uid %d, and not to %s", path, st.Uid, f.user)
	case st.Mode&0o002 != 0, st.Mode&0o020 != 0 && st.Gid != f.gid:
		return "", fmt.Errorf("%s: others may write it (mode %04o); chmod go-w", path, st.Mode&0o7777)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxForward+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxForward:
		return "", fmt.Errorf("%s: larger than %d octets", path, maxForward)
	case !utf8.Valid(b) || strings.ContainsFunc(string(b), isControl):
		return "", fmt.Errorf("%s: not UTF-8, or with control characters", path)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n"), nil
}

func isControl(c rune) bool { return c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f }

// line adds the entries of one line; commas are between them.
func (f *forward) line(s string, depth int) error {
	if strings.HasPrefix(s, "#") {
		return nil
	}
	for s != "" {
		entry, rest, err := cutEntry(s)
		if err != nil {
			return err
		}
		if entry != "" {
			if err := f.entry(entry, depth); err != nil {
				return err
			}
		}
		s = strings.TrimLeft(rest, " \t,")
	}
	return nil
}

// cutEntry takes the first entry off: up to a comma, or what stands between quotation marks. Marks within an address stay.
func cutEntry(s string) (entry, rest string, err error) {
	if quoted, ok := strings.CutPrefix(s, `"`); ok {
		var b strings.Builder
		for i := 0; i < len(quoted); i++ {
			switch c := quoted[i]; {
			case c == '"':
				after := strings.TrimLeft(quoted[i+1:], " \t")
				if after == "" || after[0] == ',' {
					return b.String(), after, nil
				}
				return cutUnquoted(s) // a quoted local part
			case c == '\\' && i+1 < len(quoted) && (quoted[i+1] == '"' || quoted[i+1] == '\\'):
				i++
				b.WriteByte(quoted[i])
			default:
				b.WriteByte(c)
			}
		}
		return "", "", errors.New("a quotation mark without its end")
	}
	return cutUnquoted(s)
}

func cutUnquoted(s string) (entry, rest string, err error) {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (quote != 0 || strings.HasPrefix(s, "|")):
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\'' && strings.HasPrefix(s, "|")):
			quote = c
		case quote == 0 && c == ',':
			return strings.TrimSpace(s[:i]), s[i:], nil
		}
	}
	if quote != 0 {
		return "", "", errors.New("a quotation mark without its end")
	}
	return strings.TrimSpace(s), "", nil
}

// entry adds one target.
func (f *forward) entry(s string, depth int) error {
	switch {
	case strings.HasPrefix(s, "|"):
		return f.program(strings.TrimSpace(s[1:]))
	case strings.HasPrefix(strings.ToLower(s), ":include:"):
		return f.include(strings.TrimSpace(s[len(":include:"):]), depth)
	case s == "/dev/null":
		return f.add(asuser.Target{Kind: asuser.ToNothing})
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "~/"), strings.HasPrefix(s, "./"):
		return f.maildir(s)
	}
	name, own := strings.CutPrefix(s, `\`)
	if own && strings.EqualFold(name, f.user) || own && strings.EqualFold(name, f.user+"@"+f.domain) {
		return f.add(asuser.Target{Kind: asuser.ToMailbox})
	}
	return f.address(name)
}

func (f *forward) program(command string) error {
	if _, err := words(command); err != nil {
		return fmt.Errorf("|%s: %w", command, err)
	}
	if f.noPrograms != nil {
		return fmt.Errorf("|%s: %w", command, f.noPrograms)
	}
	return f.add(asuser.Target{Kind: asuser.ToProgram, Value: command})
}

func (f *forward) maildir(s string) error {
	if !strings.HasSuffix(s, "/") {
		return fmt.Errorf("%s would be a file of many messages, into which nothing is delivered; for a Maildir write %s/", s, s)
	}
	path := s
	switch {
	case strings.HasPrefix(s, "~/"):
		path = filepath.Join(f.home, s[2:])
	case strings.HasPrefix(s, "./"):
		path = filepath.Join(f.home, s)
	}
	return f.add(asuser.Target{Kind: asuser.ToMaildir, Value: filepath.Clean(path)})
}

func (f *forward) include(path string, depth int) error {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(f.home, rest)
	}
	f.includes++
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf(":include:%s: want a path from / or ~/ on", path)
	case depth == maxNesting || f.includes > maxIncludes:
		return fmt.Errorf(":include:%s: more than %d files, or %d deep", path, maxIncludes, maxNesting)
	}
	return f.read(path, depth+1)
}

func (f *forward) address(s string) error {
	if in, ok := strings.CutSuffix(s, ">"); ok { // as in a header, with a name in front
		s = in[strings.LastIndexByte(in, '<')+1:]
	}
	a, err := mta.ParseAddress(s)
	if err != nil && !strings.Contains(s, "@") && f.domain != "" {
		a, err = mta.ParseAddress(s + "@" + f.domain)
	}
	if err != nil {
		return err
	}
	return f.add(asuser.Target{Kind: asuser.ToAddress, Value: a.String()})
}

func (f *forward) add(t asuser.Target) error {
	if f.seen[t] {
		return nil
	}
	if len(f.targets) == asuser.MaxTargets {
		return fmt.Errorf("more than %d targets", asuser.MaxTargets)
	}
	f.seen[t] = true
	f.targets = append(f.targets, t)
	return nil
}

// words splits a command as a shell would, without being one: quotation marks and backslashes count, and what only a shell
// could do anything about is refused outside of them.
func words(s string) ([]string, error) {
	var list []string
	var word strings.Builder
	quote, open := rune(0), false
	escaped := false
	for _, c := range s {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && (c == '$' || c == '`'), quote == 0 && strings.ContainsRune("$`;&|<>()*?[]{}#!", c):
			return nil, fmt.Errorf("%q is for a shell, and none is used: put it in quotation marks, or write |/bin/sh -c '...'", string(c))
		case quote == 0 && (c == '"' || c == '\''):
			quote, open = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if open {
				list = append(list, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(c)
			open = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quotation mark or backslash without what belongs to it")
	}
	if open {
		list = append(list, word.String())
	}
	if len(list) == 0 || list[0] == "" {
		return nil, errors.New("there is no program")
	}
	return list, nil
}
