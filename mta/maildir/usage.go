package maildir

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// Usage is a number of messages, and the octets of their files.
type Usage struct {
	Messages int64
	Octets   int64
}

func (u Usage) plus(v Usage) Usage { return Usage{u.Messages + v.Messages, u.Octets + v.Octets} }

// Holding is what a Maildir holds.
type Holding struct {
	All     Usage
	Counted Usage     // what a quota counts of it: not the folder Trash, and no message that has the flag T (maildirquota(7))
	Last    time.Time // when the youngest message came in; the zero time without any
}

// Measure counts the messages of a Maildir and of its Maildir++ folders, without opening any. The sizes are those of the
// files' names, or of the files where a name has none. A message that a reader moves meanwhile may be counted twice. Neither a
// link nor what is no message counts, be it a folder or a file; a Maildir that is not there has none.
func Measure(fsys durable.FS, path string) (Holding, error) {
	var h Holding
	boxes, err := Boxes(fsys, path)
	if err != nil {
		return h, err
	}
	for _, box := range boxes {
		// In the order in which readers move messages: none is missed.
		for _, name := range []string{dirNew, dirCur} {
			if err := h.add(fsys, filepath.Join(box, name), !uncounted(path, box)); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// Boxes returns the Maildir and the folders of Maildir++ in it, none where it is not there. What is a link is no folder.
func Boxes(fsys durable.FS, path string) ([]string, error) {
	names, err := fsys.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	boxes := []string{path}
	for _, name := range names {
		if !strings.HasPrefix(name, ".") || strings.Trim(name, ".") == "" {
			continue
		}
		box := filepath.Join(path, name)
		if st, err := fsys.Stat(box); err == nil && st.IsDir() {
			boxes = append(boxes, box)
		}
	}
	return boxes, nil
}

// folderTrash is the folder whose messages no quota counts.
const folderTrash = ".Trash"

// uncounted says whether a box of a Maildir is one that no quota counts.
func uncounted(path, box string) bool { return box == filepath.Join(path, folderTrash) }

// add counts the messages of new/ or cur/.
func (h *Holding) add(fsys durable.FS, dir string, counted bool) error {
	st, err := fsys.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !st.IsDir() {
		err = &fs.PathError{Op: "read folder", Path: dir, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return err
	}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range names {
		n, ok := ParseName(file)
		if !ok {
			continue
		}
		size, came := n.Size, cameAt(n.Unique)
		if size < 0 || came.IsZero() {
			st, err := fsys.Stat(filepath.Join(dir, file))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue // a reader was quicker
			case err != nil:
				return err
			case !st.Mode().IsRegular():
				continue
			case size < 0:
				size = st.Size()
			}
			if came.IsZero() {
				came = st.ModTime()
			}
		}
		u := Usage{1, size}
		h.All = h.All.plus(u)
		if counted && !slices.Contains(n.Flags, 'T') {
			h.Counted = h.Counted.plus(u)
		}
		if came.After(h.Last) {
			h.Last = came
		}
	}
	return nil
}

// cameAt is the time in a unique part, our own or that of another program; zero where it has none.
func cameAt(unique string) time.Time {
	id, _, _ := strings.Cut(unique, ".")
	if id, err := mta.ParseID(id); err == nil {
		return id.Time()
	}
	if sec, ok := arrival(unique); ok {
		return time.Unix(sec, 0)
	}
	return time.Time{}
}
