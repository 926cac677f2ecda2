package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// Bounds of what a filter may say: a chatty one must not fill the disk.
const (
	maxSaid    = 2048 // octets of a line
	saidLines  = 500  // in saidWindow
	saidWindow = 10 * time.Second
)

// says is where a filter's standard error goes: a line is an event of the log.
type says struct {
	log  *maillog.Log
	name string

	mu      sync.Mutex // guards below
	line    []byte
	first   string // the first line: it mostly tells why a program ended at once
	since   time.Time
	lines   int
	dropped int
}

// Write never fails: what a filter says is not worth an error.
func (s *says) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := p; len(rest) > 0; {
		head, tail, ended := bytes.Cut(rest, []byte("\n"))
		s.line = append(s.line, head[:min(len(head), maxSaid-len(s.line))]...)
		if ended {
			s.tell(s.line)
			s.line = s.line[:0]
		}
		rest = tail
	}
	return len(p), nil
}

func (s *says) tell(line []byte) {
	if now := time.Now(); now.Sub(s.since) > saidWindow {
		if s.dropped > 0 {
			s.log.FilterSays(slog.LevelWarn, s.name, fmt.Sprintf("(%d more lines were left out)", s.dropped))
		}
		s.since, s.lines, s.dropped = now, 0, 0
	}
	if s.lines++; s.lines > saidLines {
		s.dropped++
		return
	}
	if level, text := parseSaid(line); text != "" {
		if s.first == "" {
			s.first = oneLine(text, 200)
		}
		s.log.FilterSays(level, s.name, text)
	}
}

// parseSaid reads a line as package filters writes it (and hclog, in JSON); any other line is what it is.
func parseSaid(line []byte) (slog.Level, string) {
	var fields map[string]any
	if bytes.HasPrefix(line, []byte("{")) && json.Unmarshal(line, &fields) == nil {
		message, ok := fields["@message"].(string)
		level, _ := fields["@level"].(string)
		if ok {
			delete(fields, "@message")
			delete(fields, "@level")
			delete(fields, "@timestamp")
			if len(fields) > 0 {
				if b, err := json.Marshal(fields); err == nil {
					message += " " + string(b)
				}
			}
			return saidLevel(level), message
		}
	}
	return slog.LevelInfo, strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
}

func saidLevel(s string) slog.Level {
	switch s {
	case "error":
		return slog.LevelError
	case "warn":
		return slog.LevelWarn
	case "debug", "trace":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (s *says) firstLine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}
