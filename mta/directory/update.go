package directory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

const (
	fileMode    = 0o640
	fileGroup   = "posthouse-users" // of a new file, where the group exists and root writes it
	lockTimeout = 10 * time.Second
	lockEvery   = 20 * time.Millisecond
)

// ErrBusy says that another program kept the users file locked all the time that an Update waits.
var ErrBusy = errors.New("users file is being changed by another program; try again")

// Update changes the users file: it calls change with the file's lines and puts what it leaves in the file's place, in one
// step that lasts. A file that is not there begins empty. Lines that change does not touch stay byte for byte; owner and group
// stay, the mode becomes 0640. Updates exclude each other by a lock on the folder. An error of change leaves the file as it was.
func Update(ctx context.Context, path string, change func(*Lines) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the link stays, and the file behind it changes
	}
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	data, old, err := readForUpdate(path)
	if err != nil {
		return err
	}
	lines := newLines(data)
	if err := change(lines); err != nil {
		return err
	}
	if !lines.changed {
		return nil
	}
	out := lines.bytes()
	if len(out) > MaxFile {
		return fmt.Errorf("%s: larger than %d octets", path, MaxFile)
	}
	return replace(path, out, old)
}

// lockDir takes the lock of a folder; the folder is there before the file is, and no rename replaces it.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	again := time.NewTicker(lockEvery)
	defer again.Stop()
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = d.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			_ = d.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			_ = d.Close()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, ErrBusy
			}
			return nil, ctx.Err()
		}
	}
}

// readForUpdate reads the file whatever its mode, for an update mends that; nil, nil when it is not there.
func readForUpdate(path string) ([]byte, os.FileInfo, error) {
	data, info, err := conffile.Read(path, MaxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	return data, info, err
}

func replace(path string, data []byte, old os.FileInfo) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(fileMode))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // does nothing after the rename
	if uid, gid := owner(old); uid >= 0 || gid >= 0 {
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("keep the owner of %s: %w", path, err)
		}
	}
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return durable.OS{}.SyncDir(filepath.Dir(path))
}

// owner returns whose the file shall be; -1 leaves it as it comes.
func owner(old os.FileInfo) (uid, gid int) {
	if old != nil {
		if st, ok := old.Sys().(*syscall.Stat_t); ok {
			return int(st.Uid), int(st.Gid)
		}
		return -1, -1
	}
	if os.Geteuid() != 0 {
		return -1, -1
	}
	g, err := user.LookupGroup(fileGroup)
	if err != nil {
		return -1, -1
	}
	gid, err = strconv.Atoi(g.Gid)
	if err != nil {
		return -1, -1
	}
	return -1, gid
}
