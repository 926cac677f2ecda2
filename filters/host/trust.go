package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// nameForm is what a filter may be called: its name becomes part of paths, of log lines and of metrics.
var nameForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// stamp is how a file looked; two that are equal hold the same.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
}

func stampOf(st fs.FileInfo) stamp {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{uint64(sys.Dev), sys.Ino, st.Size(), st.ModTime().UnixNano(), sys.Ctim.Nano()}
}

// trusted finds what stands at path and refuses it where somebody else than root (or the owner) could put another thing
// there: by the file, by its folder, or by those of a symbolic link on the way. It returns the file itself and its stamp,
// which is zero where there is no file.
func trusted(path string, owner int) (string, stamp, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", stamp{}, err
	}
	for _, p := range []string{filepath.Dir(path), filepath.Dir(real)} {
		st, err := os.Stat(p)
		if err == nil {
			err = safe(p, st, owner)
		}
		if err != nil {
			return "", stamp{}, err
		}
	}
	st, err := os.Stat(real)
	if err != nil {
		return "", stamp{}, err
	}
	if !st.Mode().IsRegular() {
		return "", stamp{}, fmt.Errorf("%s is not a regular file", real)
	}
	return real, stampOf(st), safe(real, st, owner)
}

func safe(path string, st fs.FileInfo, owner int) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("%s: no owner", path)
	case sys.Uid != 0 && int(sys.Uid) != owner:
		return fmt.Errorf("%s belongs to uid %d: chown root it", path, sys.Uid)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s has mode %#o, others can write it: chmod go-w it", path, st.Mode().Perm())
	}
	return nil
}
