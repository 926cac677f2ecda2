package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kept is how many lines of the log stay in memory.
const kept = 1000

// event is one line of a daemon's log.
type event struct {
	program string
	at      time.Time // to the millisecond; when it was read, for a line without a time
	line    string
	fields  map[string]string
}

// journal is the log of all daemons.
type journal struct {
	mu      sync.Mutex // guards what follows
	events  []event
	changed chan struct{} // closed at the next event
	out     io.Writer     // nil: nobody follows
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

func (j *journal) add(program, line string) {
	e := event{program: program, at: time.Now(), line: line, fields: parseLine(line)}
	if at, err := time.Parse(time.RFC3339Nano, e.fields["time"]); err == nil {
		e.at = at
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.events) == kept {
		j.events = append(j.events[:0], j.events[kept/2:]...)
	}
	j.events = append(j.events, e)
	if j.out != nil {
		fmt.Fprintf(j.out, "%-12s %s\n", program, line)
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

// wait returns the first event that matches, as soon as it is there; the error is the cause of ctx's end.
func (j *journal) wait(ctx context.Context, match func(event) bool) (event, error) {
	for {
		j.mu.Lock()
		events, changed := j.events, j.changed
		for _, e := range events {
			if match(e) {
				j.mu.Unlock()
				return e, nil
			}
		}
		j.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return event{}, context.Cause(ctx)
		}
	}
}

// last returns the last n lines of a program, each indented.
func (j *journal) last(program string, n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []string
	for _, e := range j.events {
		if e.program == program {
			lines = append(lines, "  "+e.line)
		}
	}
	if lines == nil {
		return "  (none)"
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// follow has each event that comes from now on written to w.
func (j *journal) follow(w io.Writer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.out = w
}

// parseLine takes a line of key=value apart; values may be quoted as Go strings are. What is none is left out.
func parseLine(line string) map[string]string {
	fields := map[string]string{}
	for rest := line; rest != ""; {
		var key, value string
		var found bool
		key, rest, found = strings.Cut(rest, "=")
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			rest = rest[len(quoted):]
			value, _ = strconv.Unquote(quoted) // QuotedPrefix has found it good
			rest = strings.TrimPrefix(rest, " ")
		} else {
			value, rest, _ = strings.Cut(rest, " ")
		}
		key = key[strings.LastIndexByte(key, ' ')+1:] // words before it belong to no key
		if key != "" && found {
			fields[key] = value
		}
	}
	return fields
}
