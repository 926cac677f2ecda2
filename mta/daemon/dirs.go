package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/layout"
)

// umasks: an installed system shares by groups, a private instance shares nothing.
const (
	sharedUmask  = 0o007
	privateUmask = 0o077
)

// Private says whether this is a private instance: one user runs all of it, and the daemons make their own folders.
// It is one where the spool, or the folder that it would be made in, does not belong to posthouse-queue.
func (a *App) Private() bool { return Private(a.Config()) }

// Private is App.Private for a program that is no daemon.
func Private(c *config.Config) bool { return private(c, layout.UserQueue) }

func private(c *config.Config, owner string) bool {
	u, err := user.Lookup(owner)
	if err != nil {
		return true
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return true
	}
	for dir := c.Spool.Path; ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err == nil {
			sys, ok := st.Sys().(*syscall.Stat_t)
			return !ok || uint64(sys.Uid) != uid
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func (a *App) umask() int {
	if a.Private() {
		return privateUmask
	}
	return sharedUmask
}

// EnsureDirs makes the folders of a private instance that are missing, with mode 0700. Those of an installed system
// belong to systemd-tmpfiles: there a missing one is an error.
func (a *App) EnsureDirs(paths ...string) error {
	private := a.Private()
	var all error
	for _, path := range paths {
		st, err := os.Stat(path)
		switch {
		case err == nil && !st.IsDir():
			err = &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		case err == nil:
		case !errors.Is(err, fs.ErrNotExist):
		case private:
			err = os.MkdirAll(path, 0o700)
		default:
			err = fmt.Errorf("%w; make it with systemd-tmpfiles --create", err)
		}
		all = errors.Join(all, err)
	}
	return all
}
