package maildir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Usage is what a Maildir holds: messages, and the octets of their files.
type Usage struct {
	Messages int
	Octets   int64
}

// Measure counts the messages of a Maildir and of its Maildir++ folders, without opening any. A message that a reader moves
// meanwhile may be counted twice. Neither a link nor what is no message counts, be it a folder or a file; a Maildir that is
// not there has none.
func Measure(path string) (Usage, error) {
	var u Usage
	all, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return u, err
	}
	boxes := []string{path}
	for _, e := range all {
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") {
			boxes = append(boxes, filepath.Join(path, e.Name()))
		}
	}
	for _, box := range boxes {
		// In the order in which readers move messages: none is missed.
		for _, name := range []string{dirNew, dirCur} {
			if err := u.add(box, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return u, err
			}
		}
	}
	return u, nil
}

// add counts the messages of new/ or cur/.
func (u *Usage) add(box, name string) error {
	f, err := openFolder(box, name)
	if err != nil {
		return err
	}
	defer f.close()
	return f.each(func(d dirent) error {
		if !d.mayBeFile() || d.name[0] == '.' {
			return nil
		}
		var st unix.Stat_t
		switch err := unix.Fstatat(f.fd, string(d.name), &st, unix.AT_SYMLINK_NOFOLLOW); {
		case errors.Is(err, unix.ENOENT):
			return nil // a reader was quicker
		case err != nil:
			return f.fault("stat", string(d.name), err)
		case st.Mode&unix.S_IFMT == unix.S_IFREG:
			u.Messages, u.Octets = u.Messages+1, u.Octets+st.Size
		}
		return nil
	})
}
