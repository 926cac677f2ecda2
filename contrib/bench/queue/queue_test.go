package main

import (
	"path/filepath"
	"testing"
)

func TestAQueueIsFilledAndNewMailPassesIt(t *testing.T) {
	root := filepath.Join(t.TempDir(), "full")
	if err := fill(t.Context(), root, 5); err != nil {
		t.Fatal(err)
	}
	r, err := measure(t.Context(), root, 20, true)
	if err != nil || r.rate <= 0 || r.cpu < 0 {
		t.Errorf("got %+v, %v; want a rate and the time of a message", r, err)
	}
	q, err := start(t.Context(), root, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(q.store.Outstanding()); got != 5 {
		t.Errorf("got %d messages in the queue, want the 5 that wait", got)
	}
	if err := q.stop(); err != nil {
		t.Error(err)
	}
}
