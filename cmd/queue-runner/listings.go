package main

import (
	"slices"
	"sync"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// maxListed is how many names listings keeps.
const maxListed = 1 << 20

// listings is a filesystem that remembers what is in its folders, for the start: thousands of messages may have to be
// looked for in one mailbox, and nobody but this program, which is not delivering yet, adds a file that is looked for.
// A reader may move one meanwhile; so each folder is read twice before what it holds is believed, and a file that is
// not where it was listed is an error, after which the delivery itself looks again.
type listings struct {
	durable.FS
	mu    sync.Mutex // guards what follows
	dirs  map[string]*listing
	names int
}

type listing struct {
	names []string // of all readings, sorted
	reads int
}

func newListings(fsys durable.FS) *listings { return &listings{FS: fsys, dirs: map[string]*listing{}} }

// ReadDir returns the names that were in a folder at one of two times. The caller must not change them.
func (l *listings) ReadDir(path string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.dirs[path]
	if d != nil && d.reads == 2 {
		return d.names, nil
	}
	names, err := l.FS.ReadDir(path)
	if err != nil {
		return nil, err
	}
	if l.names > maxListed {
		clear(l.dirs)
		l.names, d = 0, nil
	}
	if d == nil {
		d = &listing{}
		l.dirs[path] = d
	}
	l.names -= len(d.names)
	d.names = append(d.names, names...)
	slices.Sort(d.names)
	d.names = slices.Compact(d.names)
	d.reads++
	l.names += len(d.names)
	return slices.Clone(d.names), nil
}
