package maildir

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Expire removes the messages in a Maildir, or in a folder of one, that have been there and unchanged since before a time, and
// returns how many those were, and what a quota had counted of them. What counts is the time of the last change of the file's own record (ctime): a message comes
// into a folder by a new name, and its mtime tells of its delivery into another. Neither a link nor what is no message is
// touched; a Maildir that is not there has none.
func Expire(path string, before time.Time) (removed int, counted Usage, err error) {
	// What is reached by a link may be the inbox.
	if st, err := os.Lstat(path); err == nil && !st.IsDir() {
		return 0, Usage{}, &fs.PathError{Op: "expire", Path: path, Err: unix.ENOTDIR}
	}
	for _, name := range []string{dirNew, dirCur} {
		n, u, err := expire(path, name, before)
		removed, counted = removed+n, counted.plus(u)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, counted, err
		}
	}
	return removed, counted, nil
}

func expire(path, name string, before time.Time) (removed int, counted Usage, err error) {
	f, err := openFolder(path, name)
	if err != nil {
		return 0, Usage{}, err
	}
	defer f.close()
	err = f.each(func(d dirent) error {
		if !d.mayBeFile() || d.name[0] == '.' {
			return nil
		}
		var st unix.Stat_t
		switch err := unix.Fstatat(f.fd, string(d.name), &st, unix.AT_SYMLINK_NOFOLLOW); {
		case errors.Is(err, unix.ENOENT):
			return nil // a reader was quicker
		case err != nil:
			return f.fault("stat", string(d.name), err)
		case st.Mode&unix.S_IFMT != unix.S_IFREG || !time.Unix(st.Ctim.Unix()).Before(before):
			return nil
		}
		switch err := unix.Unlinkat(f.fd, string(d.name), 0); {
		case errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return f.fault("remove", string(d.name), err)
		}
		removed++
		if n, ok := ParseName(string(d.name)); ok && !slices.Contains(n.Flags, 'T') {
			counted = counted.plus(Usage{1, st.Size})
		}
		return nil
	})
	return removed, counted, err
}
