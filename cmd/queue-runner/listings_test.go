package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/mtatest"
)

// counting counts the readings of folders.
type counting struct {
	durable.OS
	n int
}

func (c *counting) ReadDir(path string) ([]string, error) {
	c.n++
	return c.OS.ReadDir(path)
}

func TestFolderIsReadTwiceAndThenRemembered(t *testing.T) {
	dir := t.TempDir()
	c := &counting{}
	l := newListings(c)
	if names, err := l.ReadDir(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("missing folder: got %v, %v", names, err)
	}
	c.n = 0
	for n, want := range []string{"[a]", "[a b]", "[a b]", "[a b]"} { // moved while it was looked at: both names count
		for _, other := range []string{"a", "b"} {
			_ = os.Remove(filepath.Join(dir, other))
		}
		name := "b"
		if n == 0 {
			name = "a"
		}
		mtatest.Write(t, filepath.Join(dir, name), "")
		names, err := l.ReadDir(dir)
		slices.Sort(names)
		if got := fmt.Sprint(names); got != want || err != nil {
			t.Errorf("reading %d: got %s, %v; want %s", n, got, err, want)
		}
	}
	if c.n != 2 {
		t.Errorf("the folder was read %d times, want twice", c.n)
	}
}
