package maildir

import (
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

var _ io.ReaderAt = (*File)(nil)

// File is a message that is open. It goes past os.File, which would offer each one to the poller of the runtime in vain.
type File struct {
	fd   int
	left int64 // octets of the snapshot's size
}

// Len returns how many octets are still to be read.
func (f *File) Len() int64 { return f.left }

// Read reads the message up to the size that the snapshot has; io.ErrUnexpectedEOF where the file has become shorter.
func (f *File) Read(p []byte) (n int, err error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > f.left {
		p = p[:f.left]
	}
	if len(p) == 0 {
		return 0, nil
	}
	err = retry(func() (err error) {
		n, err = unix.Read(f.fd, p)
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	f.left -= int64(n)
	return n, nil
}

// ReadAt reads at an offset and leaves what Read is to give out as it is. It reads to the end of the file as it is now.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	err = retry(func() (err error) {
		n, err = unix.Pread(f.fd, p, off)
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// Close closes the file.
func (f *File) Close() error { return unix.Close(f.fd) }

// openFile opens a regular file of the folder and tells of it. It never waits and follows no link; ErrGone where there is
// no such file.
func (f *folder) openFile(name string) (fd int, st unix.Stat_t, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(f.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return -1, st, ErrGone
	case err != nil:
		return -1, st, f.fault("open", name, err)
	}
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, st, f.fault("stat", name, err)
	}
	if !f.regular(&st) {
		_ = unix.Close(fd)
		return -1, st, ErrGone
	}
	return fd, st, nil
}

// statFile tells of a file of the folder, not of what a link leads to; ErrGone where there is no such regular file.
func (f *folder) statFile(name string) (st unix.Stat_t, err error) {
	err = retry(func() error { return unix.Fstatat(f.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return st, ErrGone
	case err != nil:
		return st, f.fault("stat", name, err)
	case !f.regular(&st):
		return st, ErrGone
	}
	return st, nil
}

// regular says whether a file is a regular one, on the filesystem of its folder.
func (f *folder) regular(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Dev == f.dev
}
