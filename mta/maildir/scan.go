package maildir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/dot"
)

const (
	// maxMessages bounds a snapshot; the messages beyond it show once others are gone.
	maxMessages = 1 << 20
	// readChunk is how many names are read from a folder at once.
	readChunk = 4096
)

// inode tells files apart, whatever their names.
type inode struct{ dev, ino uint64 }

// entry is a message as the snapshot keeps it.
type entry struct {
	folder string // dirNew or dirCur
	file   string // the name there
	unique string
	id     inode
	size   int64 // octets of the file
	wire   int64 // octets as POP3 sends them
	time   int64 // of arrival, seconds since 1970
	twin   bool  // another message has the same unique part
	gone   bool  // it was looked for under all names and is not there
}

// scan lists the messages of a Maildir in the order of their arrival. It reads new/ before cur/, so that a message which
// another program moves meanwhile is seen at least once. What is not there reads as empty.
func scan(ctx context.Context, dir string) ([]entry, error) {
	var all []entry
	for _, folder := range []string{dirNew, dirCur} {
		err := eachFile(filepath.Join(dir, folder), func(file string, n Name) error {
			if len(all) == maxMessages {
				return io.EOF
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			e, ok, err := inspect(dir, folder, file, n)
			if ok {
				all = append(all, e)
			}
			return err
		})
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read mailbox: %w", err)
		}
	}
	return arrange(all), nil
}

// arrange puts entries in order, drops those seen twice, and marks different messages with one unique part.
func arrange(all []entry) []entry {
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.unique, b.unique), cmp.Compare(a.id.dev, b.id.dev), cmp.Compare(a.id.ino, b.id.ino))
	})
	kept := all[:0]
	for _, e := range all {
		if n := len(kept); n > 0 && kept[n-1].unique == e.unique {
			if kept[n-1].id == e.id {
				kept[n-1].folder, kept[n-1].file = e.folder, e.file
				continue
			}
			kept[n-1].twin, e.twin = true, true
		}
		kept = append(kept, e)
	}
	slices.SortFunc(kept, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.unique, b.unique), cmp.Compare(a.id.ino, b.id.ino))
	})
	return kept
}

// inspect looks at one file; ok is false for what is not to be shown: gone again, no regular file, or not yet the size
// that its name gives, because it is being completed.
func inspect(dir, folder, file string, n Name) (e entry, ok bool, err error) {
	path := filepath.Join(dir, folder, file)
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, err
	}
	if !st.Mode().IsRegular() || n.Size >= 0 && n.Size != st.Size() {
		return entry{}, false, nil
	}
	e = entry{folder: folder, file: file, unique: n.Unique, id: inodeOf(st), size: st.Size(), wire: n.Wire}
	if e.time, ok = arrival(n.Unique); !ok {
		e.time = st.ModTime().Unix()
	}
	// Each LF may gain a CR, and the last line both; what is outside of that is no wire size.
	if e.wire >= e.size && e.wire <= 2*e.size+2 {
		return e, true, nil
	}
	return measure(path, e)
}

// measure reads a file whose name does not give its size on the wire.
func measure(path string, e entry) (entry, bool, error) {
	f, err := openAs(path, e)
	if errors.Is(err, ErrGone) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, err
	}
	defer f.Close()
	if e.wire, err = dot.WireSize(io.LimitReader(f, e.size)); err != nil {
		return entry{}, false, fmt.Errorf("read %s: %w", path, err)
	}
	return e, true, nil
}

// openAs opens the file at path if it is still the one of e, unchanged; ErrGone otherwise. It never waits and follows no link.
func openAs(path string, e entry) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, ErrGone
	case err != nil:
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	if !e.is(st) || st.Size() != e.size {
		_ = f.Close()
		return nil, ErrGone
	}
	return f, nil
}

// is says whether a file is the one that the snapshot saw, under whatever name.
func (e *entry) is(st fs.FileInfo) bool { return st.Mode().IsRegular() && inodeOf(st) == e.id }

func inodeOf(st fs.FileInfo) inode {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return inode{uint64(sys.Dev), sys.Ino}
	}
	return inode{}
}

// eachFile calls do for each message name in a folder, in the folder's order, until it returns an error. A folder that is
// not there is empty; one that is a link or a file is an error.
func eachFile(folder string, do func(file string, n Name) error) error {
	d, err := os.OpenFile(folder, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		files, err := d.Readdirnames(readChunk)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, file := range files {
			if n, ok := ParseName(file); ok {
				if err := do(file, n); err != nil {
					return err
				}
			}
		}
	}
}
