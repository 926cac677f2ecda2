package mtatest

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Write makes a file that others than its owner and its group cannot read, and the folder that it is in.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits for what no log tells of, and says why it is not so yet.
func Eventually(t testing.TB, ok func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(Patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still after %v: %v", Patience, err)
		}
	}
}
