package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEnablingAFilterLeavesAGoodConfiguration has names that are files in the folder, of which some cannot be enabled.
func TestEnablingAFilterLeavesAGoodConfiguration(t *testing.T) {
	for _, c := range []struct {
		name string
		want int
	}{
		{strings.Repeat("a", 65), exitUsage},
		{"Upper", exitUsage},
		{"a.b", exitUsage},
		{strings.Repeat("a", 64), 0},
	} {
		dir := t.TempDir()
		conf := site(t, "", "[filters]\ndirectory = \""+dir+"\"\n")
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if code, out, errOut := command(t, "filter", "enable", "--config", conf, c.name); code != c.want {
			t.Errorf("%s: got %d, want %d: %s%s", c.name, code, c.want, out, errOut)
		}
		if code, _, errOut := command(t, "check", "--config", conf); code != 0 {
			t.Errorf("%s: check: got %d: %s", c.name, code, errOut)
		}
	}
}
