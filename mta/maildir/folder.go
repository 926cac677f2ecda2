package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is new/ or cur/, open. What is done in it goes by its descriptor: who renames folders under a session cannot lead
// it elsewhere.
type folder struct {
	path string
	fd   int
	dev  uint64
}

// openFolder opens a folder of the Maildir at dir; fs.ErrNotExist where there is none, and an error where it is a link.
func openFolder(dir, name string) (*folder, error) {
	f := &folder{path: filepath.Join(dir, name)}
	err := retry(func() (err error) {
		f.fd, err = unix.Open(f.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.path, Err: err}
	}
	st, err := f.stat()
	if err != nil {
		f.close()
		return nil, err
	}
	f.dev = st.Dev
	return f, nil
}

// makeFolder is openFolder for one that is missing.
func makeFolder(dir, name string) (*folder, error) {
	if err := os.Mkdir(filepath.Join(dir, name), 0o770); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return openFolder(dir, name)
}

func (f *folder) close() {
	if f != nil {
		_ = unix.Close(f.fd)
	}
}

func (f *folder) fault(op, file string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(f.path, file), Err: err}
}

func (f *folder) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return st, f.fault("stat", "", err)
	}
	return st, nil
}

// dirent is one name of a folder, as the kernel lists it.
type dirent struct {
	ino  uint64
	kind uint8
	name []byte // valid until the next one
}

// mayBeFile says whether the entry can be a regular file; some filesystems do not tell.
func (d *dirent) mayBeFile() bool { return d.kind == unix.DT_REG || d.kind == unix.DT_UNKNOWN }

// direntBuffer is how much of a folder is read at once: some two thousand names.
const direntBuffer = 128 << 10

// Offsets in the kernel's struct linux_dirent64, getdents64(2).
const (
	direntLength = 16
	direntType   = 18
	direntName   = 19
)

// each calls do for each entry of a folder, from its beginning, until do returns an error.
func (f *folder) each(do func(d dirent) error) error {
	if _, err := unix.Seek(f.fd, 0, 0); err != nil {
		return f.fault("seek", "", err)
	}
	buf := make([]byte, direntBuffer)
	for {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Getdents(f.fd, buf)
			return err
		})
		if err != nil {
			return f.fault("read folder", "", err)
		}
		if n <= 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > direntName; {
			length := int(binary.NativeEndian.Uint16(rest[direntLength:]))
			if length <= direntName || length > len(rest) {
				return f.fault("read folder", "", unix.EIO)
			}
			d := dirent{ino: binary.NativeEndian.Uint64(rest), kind: rest[direntType], name: rest[direntName:length]}
			if end := bytes.IndexByte(d.name, 0); end >= 0 {
				d.name = d.name[:end]
			}
			rest = rest[length:]
			if err := do(d); err != nil {
				return err
			}
		}
	}
}

// rename gives a file another name without replacing anything; the other folder may be the same one.
func (f *folder) rename(from string, to *folder, name string) error {
	err := unix.Renameat2(f.fd, from, to.fd, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// Some network filesystems have no such flag. A link never replaces anything either.
		if err = unix.Linkat(f.fd, from, to.fd, name, 0); err == nil {
			err = unix.Unlinkat(f.fd, from, 0)
		}
	}
	if err != nil {
		return f.fault("rename", from, err)
	}
	return nil
}

// sync makes last what was done to the names in the folder, where its filesystem can.
func (f *folder) sync() error {
	err := retry(func() error { return unix.Fsync(f.fd) })
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EROFS) {
		return f.fault("sync", "", err)
	}
	return nil
}

func retry(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
