package mta_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that may stand at the top of the tree; bin and demo are what make makes there.
var topLevel = []string{"LICENSE", "Makefile", "README.md", "bin", "cmd", "contrib", "demo", "etc", "filters", "go.mod", "go.sum", "mta", "pop3d"}

func TestNothingElseStandsAtTheTop(t *testing.T) {
	list, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top of the tree", e.Name())
		}
	}
}

// go build without -o leaves its program where it was called, and it is soon part of a commit.
func TestNoProgramStandsAmongTheSources(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if rel, _ := filepath.Rel("..", path); d.IsDir() && (rel == "bin" || rel == "demo" || strings.HasPrefix(rel, ".git")) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		head := make([]byte, 4)
		if n, _ := f.Read(head); bytes.Equal(head[:n], []byte("\x7fELF")) {
			t.Errorf("%s is a program", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
