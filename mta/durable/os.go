package durable

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OS is the machine's own filesystem.
type OS struct{}

var _ FS = OS{}

func (OS) Create(path string, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// open opens a file that is there. What is none is refused: a FIFO would make us wait.
func open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO): // a link, a folder, a socket
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNoFile}
	case err != nil:
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNoFile}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return osFile{f}, nil
}

func (OS) Open(path string) (File, error)            { return open(path, os.O_RDONLY) }
func (OS) OpenWrite(path string) (File, error)       { return open(path, os.O_RDWR) }
func (OS) Mkdir(path string, perm fs.FileMode) error { return os.Mkdir(path, perm) }
func (OS) Rename(from, to string) error              { return os.Rename(from, to) }
func (OS) Remove(path string) error                  { return unlink(path) }
func (OS) Stat(path string) (fs.FileInfo, error)     { return os.Lstat(path) }

// Append is by O_APPEND. What is no file is refused: a FIFO would make us wait.
func (OS) Append(path string, p []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "append", Path: path, Err: unix.EINVAL}
	}
	if err == nil {
		_, err = f.Write(p)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// unlink removes a file and never a folder, in one system call.
func unlink(path string) error {
	if err := retry(func() error { return unix.Unlink(path) }); err != nil {
		return &fs.PathError{Op: "unlink", Path: path, Err: err}
	}
	return nil
}

// RenameNoReplace is renameat2(RENAME_NOREPLACE); where the filesystem does not know that, link and unlink, which
// keeps the promise that nothing is replaced.
func (OS) RenameNoReplace(from, to string) error {
	err := retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return unlink(from)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (OS) ReadDir(path string) ([]string, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (OS) SyncDir(path string) error {
	return withDir(path, "sync", func(fd int) error { return unix.Fsync(fd) })
}

func (OS) SyncFS(path string) error {
	return withDir(path, "syncfs", func(fd int) error { return unix.Syncfs(fd) })
}

func withDir(path, op string, do func(fd int) error) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := retry(func() error { return do(int(d.Fd())) }); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// Filesystems whose syncfs reaches a disk (or memory) of this machine: statfs(2). Others, NFS above all, are synced
// file by file.
var localMagic = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, 0x2fc12fc1: true, // ZFS
}

func (OS) Device(path string) (dev uint64, local bool, err error) {
	var st unix.Stat_t
	var sf unix.Statfs_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := unix.Statfs(path, &sf); err != nil {
		return 0, false, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return st.Dev, localMagic[int64(sf.Type)], nil
}

func (OS) Free(path string) (uint64, error) {
	var sf unix.Statfs_t
	if err := unix.Statfs(path, &sf); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return sf.Bavail * uint64(sf.Bsize), nil
}

func retry(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) call(op string, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var e error
	if err := c.Control(func(fd uintptr) { e = retry(func() error { return do(int(fd)) }) }); err != nil {
		return err
	}
	if e != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: e}
	}
	return nil
}

func (f osFile) Sync() error { return f.call("fdatasync", unix.Fdatasync) }

func (f osFile) Allocate(size int64) error {
	err := f.call("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) { // the filesystem has no such thing: the writes will say when it is full
		return nil
	}
	return err
}

func (f osFile) Lock() error {
	err := f.call("flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &fs.PathError{Op: "flock", Path: f.Name(), Err: ErrLocked}
	}
	return err
}
