package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxLogLine bounds a line of a log; a longer one is none of ours.
const maxLogLine = 1 << 20

// record is an event of the log, its fields by the keys that the text has.
type record struct {
	time   time.Time
	level  string
	event  string
	fields map[string]string
}

// object is the record for JSON.
func (r *record) object() map[string]string {
	m := map[string]string{"time": r.time.UTC().Format(time.RFC3339Nano), "event": r.event}
	if r.level != "" {
		m["level"] = r.level
	}
	for k, v := range r.fields {
		m[k] = v
	}
	return m
}

// parseLine reads a line as maillog's handlers write it, text or JSON, behind whatever a supervisor has put in front of
// it; nil where it is none.
func parseLine(line []byte) *record {
	i := bytes.Index(line, []byte("time="))
	if j := bytes.Index(line, []byte(`{"time":`)); j >= 0 && (i < 0 || j < i) {
		return parseObject(line[j:])
	}
	if i < 0 || i > 0 && line[i-1] != ' ' && line[i-1] != '\t' {
		return nil
	}
	r := &record{fields: map[string]string{}}
	for s := string(bytes.TrimRight(line[i:], "\r\n")); s != ""; {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil
		}
		value := rest
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil
			}
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil
			}
			rest = rest[len(quoted):]
		} else {
			value, _, _ = strings.Cut(rest, " ")
			rest = rest[len(value):]
		}
		r.set(key, value)
		s = strings.TrimPrefix(rest, " ")
	}
	return r.valid()
}

func parseObject(line []byte) *record {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return nil
	}
	r := &record{fields: map[string]string{}}
	for key, v := range m {
		value := fmt.Sprint(v)
		if n, ok := v.(json.Number); ok && (key == "delay" || key == "max-age") { // a duration, in nanoseconds
			if ns, err := n.Int64(); err == nil {
				value = time.Duration(ns).String()
			}
		}
		r.set(key, value)
	}
	return r.valid()
}

func (r *record) set(key, value string) {
	switch key {
	case "time":
		r.time, _ = time.Parse(time.RFC3339Nano, value)
	case "level":
		r.level = value
	case "event":
		r.event = value
	default:
		r.fields[key] = value
	}
}

func (r *record) valid() *record {
	if r.time.IsZero() || r.event == "" {
		return nil
	}
	return r
}

// logFiles are logs in files, read again for each pass; standard input was copied into one.
type logFiles struct {
	files []*os.File
	title string
}

// openLogs opens what is to be read; done closes it.
func openLogs(names []string, in io.Reader) (src logSource, done func(), err error) {
	if len(names) == 0 {
		return &journal{}, func() {}, nil
	}
	if st, err := os.Stat(names[0]); len(names) == 1 && err == nil && st.IsDir() {
		return &journal{dir: names[0]}, func() {}, nil
	}
	l := &logFiles{title: strings.Join(names, ", ")}
	done = func() {
		for _, f := range l.files {
			_ = f.Close()
		}
	}
	for _, name := range names {
		var f *os.File
		if name == "-" {
			f, err = keep(in)
		} else {
			f, err = os.Open(name)
		}
		if err != nil {
			done()
			return nil, nil, err
		}
		l.files = append(l.files, f)
	}
	return l, done, nil
}

// keep copies what can be read once alone into a file without a name.
func keep(in io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "posthouse-trace-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err := io.Copy(f, in); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (l *logFiles) name() string { return l.title }

func (l *logFiles) known(t *tracer) int { return len(t.families) }

func (l *logFiles) begins(context.Context) (first time.Time) {
	for _, f := range l.files {
		_ = logLines(f, func(line []byte) error {
			r := parseLine(line)
			if r == nil {
				return nil
			}
			if first.IsZero() || r.time.Before(first) {
				first = r.time
			}
			return io.EOF
		})
	}
	return first
}

// each implements logSource. The files are merged by time: each daemon may have its own, and rotated ones come in any
// order. A line is looked at closely only where it can be about the story.
func (l *logFiles) each(ctx context.Context, t *tracer, do func(*record) error) error {
	type stream struct {
		head *record
		next func() (*record, error, bool)
	}
	var all []*stream
	for _, f := range l.files {
		next, stop := iter.Pull2(t.records(ctx, f))
		defer stop()
		all = append(all, &stream{next: next})
	}
	pull := func(s *stream) error {
		r, err, ok := s.next()
		if s.head = r; !ok {
			s.head = nil
		}
		return err
	}
	for _, s := range all {
		if err := pull(s); err != nil {
			return err
		}
	}
	for {
		var first *stream
		for _, s := range all {
			if s.head != nil && (first == nil || s.head.time.Before(first.head.time)) {
				first = s
			}
		}
		if first == nil {
			return nil
		}
		if err := do(first.head); err != nil {
			return err
		}
		if err := pull(first); err != nil {
			return err
		}
	}
}

// records are those of a file that may be about the story; an error comes last.
func (t *tracer) records(ctx context.Context, f *os.File) iter.Seq2[*record, error] {
	return func(yield func(*record, error) bool) {
		err := logLines(f, func(line []byte) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !t.touches(line) {
				return nil
			}
			if r := parseLine(line); r != nil && !r.time.Before(t.since) && !yield(r, nil) {
				return io.EOF
			}
			return nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// fewStrings is up to how many strings a line is searched for; with more it is quicker to read the line.
const fewStrings = 16

// touches says, fast, whether a line can be about the story.
func (t *tracer) touches(line []byte) bool {
	if len(t.families)+len(t.sessions) > fewStrings {
		return true
	}
	for _, set := range []map[string]bool{t.families, t.sessions} {
		for s := range set {
			if bytes.Contains(line, []byte(s)) {
				return true
			}
		}
	}
	return t.address != "" && mayContain(line, t.address)
}

// mayContain says whether a line has an address in it, in capitals or not; s is in lower case. Of what is not ASCII it
// only says that it may.
func mayContain(line []byte, s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return true
		}
	}
	low, up := s[0], strings.ToUpper(s[:1])[0]
	for i := 0; i+len(s) <= len(line); i++ {
		if (line[i] == low || line[i] == up) && asciiFold(line[i:i+len(s)], s) {
			return true
		}
	}
	return false
}

func asciiFold(b []byte, lower string) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// logLines reads a file from its beginning, unpacked; io.EOF from do ends it early. A line that is too long is passed over.
func logLines(f *os.File, do func(line []byte) error) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	br := bufio.NewReaderSize(f, maxLogLine)
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		br = bufio.NewReaderSize(z, maxLogLine)
	}
	for long := false; ; {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = true
			continue
		}
		if len(line) > 0 && !long {
			if err := do(line); err != nil {
				if err == io.EOF {
					return nil
				}
				return err
			}
		}
		long = false
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
}
