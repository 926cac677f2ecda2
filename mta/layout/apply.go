package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// modeBits are those of a mode that an Entry speaks of.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Missing says which users and groups of the table the machine lacks; none where all are there.
func Missing() []string {
	var names []string
	for _, g := range Groups() {
		if _, err := user.LookupGroup(g); err != nil {
			names = append(names, g)
		}
	}
	for _, u := range Users() {
		if _, err := user.Lookup(u.Name); err != nil {
			names = append(names, u.Name)
		}
	}
	return names
}

// Strangers says which users lack a group that they are to have, as "USER GROUP".
func Strangers() ([][2]string, error) {
	var list [][2]string
	for _, u := range Users() {
		account, err := user.Lookup(u.Name)
		if err != nil {
			return nil, err
		}
		has, err := account.GroupIds()
		if err != nil {
			return nil, err
		}
		for _, name := range u.Groups {
			g, err := user.LookupGroup(name)
			if err != nil {
				return nil, err
			}
			found := false
			for _, id := range has {
				found = found || id == g.Gid
			}
			if !found {
				list = append(list, [2]string{u.Name, name})
			}
		}
	}
	return list, nil
}

// ErrDiffers says that a folder or file is there, and is not as the table says.
var ErrDiffers = errors.New("is not as it should be")

// Check holds what is on disk against the entry: nil, an error with fs.ErrNotExist, or ErrDiffers with what it is and
// should be.
func (e Entry) Check() error {
	st, err := os.Lstat(e.Path)
	if err == nil && st.Mode().Type() == fs.ModeSymlink {
		st, err = os.Stat(e.Path) // the operator may keep it elsewhere
	}
	if err != nil {
		return err
	}
	if st.IsDir() == e.File || !st.IsDir() && !st.Mode().IsRegular() {
		return fmt.Errorf("%s %w: it is no %s", e.Path, ErrDiffers, e.kind())
	}
	uid, gid, err := e.ids()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner is unknown", e.Path)
	}
	if int(sys.Uid) == uid && int(sys.Gid) == gid && st.Mode()&modeBits == e.Mode {
		return nil
	}
	return fmt.Errorf("%s %w: it is %s:%s %s, and should be %s:%s %s", e.Path, ErrDiffers, userName(sys.Uid), groupName(sys.Gid),
		Octal(st.Mode()), e.Owner, e.Group, Octal(e.Mode))
}

func (e Entry) kind() string {
	if e.File {
		return "file"
	}
	return "folder"
}

// Command is what an operator types to mend what Check has found.
func (e Entry) Command() string {
	if e.File {
		return fmt.Sprintf("chown %s:%s %s && chmod %s %s", e.Owner, e.Group, e.Path, Octal(e.Mode), e.Path)
	}
	return fmt.Sprintf("install -d -o %s -g %s -m %s %s", e.Owner, e.Group, Octal(e.Mode), e.Path)
}

// Make makes a folder that is missing; those above it too, for root. It tells whether it did, and leaves alone what is there.
func (e Entry) Make() (made bool, err error) {
	if e.File {
		return false, nil
	}
	if _, err := os.Lstat(e.Path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	uid, gid, err := e.ids()
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(e.Path), public); err != nil {
		return false, err
	}
	// It comes into sight with its owner: several programs start at once, and each makes what is missing.
	first := e
	if first.Path, err = os.MkdirTemp(filepath.Dir(e.Path), "."+filepath.Base(e.Path)+".new"); err != nil {
		return false, err
	}
	err = first.own(uid, gid)
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, first.Path, unix.AT_FDCWD, e.Path, unix.RENAME_NOREPLACE)
	}
	if errors.Is(err, unix.EINVAL) {
		err = os.Rename(first.Path, e.Path) // a file system that knows no such rename; this one replaces what is empty alone
	}
	if err != nil {
		err = errors.Join(err, os.Remove(first.Path))
		if _, there := os.Lstat(e.Path); there == nil && (errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY)) {
			return false, nil // another was faster
		}
		return false, fmt.Errorf("make %s: %w", e.Path, err)
	}
	return true, durable.OS{}.SyncDir(filepath.Dir(e.Path))
}

// Mend gives what is there its owner and mode.
func (e Entry) Mend() error {
	uid, gid, err := e.ids()
	if err != nil {
		return err
	}
	return e.own(uid, gid)
}

// own works on an open file: whoever owns the folder above could put a link in its place between two steps.
func (e Entry) own(uid, gid int) error {
	flags := syscall.O_RDONLY | syscall.O_NONBLOCK
	if !e.File {
		flags |= syscall.O_DIRECTORY
	}
	if st, err := os.Lstat(e.Path); err == nil && st.Mode().Type() == fs.ModeSymlink {
		real, err := filepath.EvalSymlinks(e.Path)
		if err != nil {
			return err
		}
		e.Path = real
	}
	f, err := os.OpenFile(e.Path, flags|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.IsDir() == e.File {
		return fmt.Errorf("%s: %w: it is no %s", e.Path, ErrDiffers, e.kind())
	}
	// Owner first: a chown takes set-id bits away.
	if err := f.Chown(uid, gid); err != nil {
		return err
	}
	return f.Chmod(e.Mode)
}

func (e Entry) ids() (uid, gid int, err error) {
	u, err := user.Lookup(e.Owner)
	if err != nil {
		return 0, 0, err
	}
	g, err := user.LookupGroup(e.Group)
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(g.Gid)
	return uid, gid, err
}

func userName(id uint32) string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
		return u.Username
	}
	return strconv.FormatUint(uint64(id), 10)
}

func groupName(id uint32) string {
	if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
		return g.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}
