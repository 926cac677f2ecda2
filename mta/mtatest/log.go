package mtatest

import (
	"bytes"
	"strings"
	"sync"
)

// Log keeps what is written to a log, for reading meanwhile. The zero value is ready.
type Log struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Count says how many lines have an event, in the form of maillog.NewText.
func (l *Log) Count(event string) int { return strings.Count(l.String(), "event="+event+" ") }
