// Package conffile opens and reads the files that a configuration names: certificates, keys, passwords, users, aliases,
// texts. Whoever wrote the configuration may have named what is no file. No program may wait for a FIFO's writer, or read a
// device without end, when it starts and when it reads its configuration again; so each such file is opened here.
package conffile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrIrregular says that a path leads to a folder, a FIFO, a socket or a device.
var ErrIrregular = errors.New("not a regular file")

// ErrSize says that a file holds more than its kind can.
var ErrSize = errors.New("too large")

// Open opens a regular file for reading, and tells its state as it was then; symbolic links are followed. It never waits.
// What is there but is no regular file is not opened, for a device may begin to do something; the error is ErrIrregular then,
// and its state is told as well. With other errors there is none.
func Open(path string) (*os.File, fs.FileInfo, error) {
	st, err := os.Stat(path)
	if err != nil {
		var of *fs.PathError
		if errors.As(err, &of) {
			of.Op = "open" // which is what the caller wants to do
		}
		return nil, nil, err
	}
	if err := regular(path, st); err != nil {
		return nil, st, err
	}
	// Without O_NONBLOCK, a FIFO that has come into its place meanwhile would make the open wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if st, err = f.Stat(); err == nil {
		err = regular(path, st)
	}
	if err != nil {
		_ = f.Close()
		return nil, st, err
	}
	return f, st, nil
}

// Read returns what a regular file of up to limit octets holds, and its state as it was before; one that is larger is ErrSize.
// The state is told with ErrIrregular and ErrSize too.
func Read(path string, limit int64) ([]byte, fs.FileInfo, error) {
	f, st, err := Open(path)
	if err != nil {
		return nil, st, err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := ReadFrom(f, limit)
	return b, st, err
}

// ReadFrom is Read for a file that Open has opened.
func ReadFrom(f *os.File, limit int64) ([]byte, error) {
	tooLarge := &fault{fmt.Sprintf("%s is larger than %s; allowed: a file of up to that size", f.Name(), size(limit)), ErrSize}
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if st.Size() > limit {
		return nil, tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1)) // it may grow, or, as in /proc, not tell its size
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, tooLarge
	}
	return b, nil
}

// fault is a text for the operator that answers to errors.Is.
type fault struct {
	text string
	is   error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.is }

func regular(path string, st fs.FileInfo) error {
	if st.Mode().IsRegular() {
		return nil
	}
	return &fault{fmt.Sprintf("%s is %s, %v; allowed: a regular file, or a link to one", path, kind(st.Mode()), ErrIrregular), ErrIrregular}
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

func size(octets int64) string {
	switch {
	case octets%(1<<20) == 0:
		return fmt.Sprintf("%d MB", octets>>20)
	case octets%(1<<10) == 0:
		return fmt.Sprintf("%d KB", octets>>10)
	}
	return fmt.Sprintf("%d octets", octets)
}
