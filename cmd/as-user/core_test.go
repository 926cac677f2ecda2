package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"
)

// TestTheCoreIsShort holds the files that the manual page names as what decides with the rights of root to what can be
// read in ten minutes.
func TestTheCoreIsShort(t *testing.T) {
	page, err := os.ReadFile("as-user.8")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ = bytes.Cut(page, []byte(".Sh SECURITY"))
	page, _, _ = bytes.Cut(page, []byte("Beside them"))
	const files, most = 7, 850
	names, lines := regexp.MustCompile(`(?m)^\.Pa ((?:cmd|mta)/[a-z/-]+\.go)`).FindAllSubmatch(page, -1), 0
	for _, name := range names {
		b, err := os.ReadFile("../../" + string(name[1]))
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(b, []byte("\n"))
	}
	if len(names) != files || lines > most {
		t.Errorf("got %d files of %d lines, want %d of %d at the most", len(names), lines, files, most)
	}
}
