package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

func TestAppendAddsToFilesAlone(t *testing.T) {
	dir := t.TempDir()
	file, fifo, link := filepath.Join(dir, "file"), filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := (durable.OS{}).Append(file, []byte("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	for _, err := range []error{os.WriteFile(file, []byte("one\n"), 0o600), unix.Mkfifo(fifo, 0o600), os.Symlink(file, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := (durable.OS{}).Append(file, []byte("more\n")); err != nil {
			t.Error(err)
		}
	}
	// A reader of the FIFO makes it one that can be opened.
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, path := range []string{fifo, link, dir} {
		if err := (durable.OS{}).Append(path, []byte("x")); err == nil {
			t.Errorf("%s: got no error", path)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "one\nmore\nmore\n" {
		t.Errorf("got %q, %v", b, err)
	}
}
