package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Inside says how many files and folders below a folder that is one user's alone belong to somebody else, root apart, and names
// the first: after a restore on a host whose users have other numbers, the daemon cannot read what it has written. With fix
// they are given to the owner, save files that have a second name, which could be anywhere. Of all other entries it says 0.
func (e Entry) Inside(fix bool) (strangers int, first string, err error) {
	if !e.Alone {
		return 0, "", nil
	}
	uid, gid, err := e.ids()
	if err != nil {
		return 0, "", err
	}
	root, err := os.OpenRoot(e.Path) // whose owner could put a link in a folder's place meanwhile: nothing outside is reached
	if err != nil {
		return 0, "", err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a daemon that runs has removed it
			return nil
		case err != nil || name == ".":
			return err
		}
		st, err := root.Lstat(name)
		if err != nil {
			return nil
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok || int(sys.Uid) == uid || sys.Uid == 0 {
			return nil
		}
		if strangers++; first == "" {
			first = filepath.Join(e.Path, name)
		}
		if !fix {
			return nil
		}
		if st.Mode().IsRegular() && sys.Nlink > 1 {
			return fmt.Errorf("%s belongs to %s and has a second name; give it to %s by hand", filepath.Join(e.Path, name), userName(sys.Uid), e.Owner)
		}
		return root.Lchown(name, uid, gid)
	})
	return strangers, first, err
}
