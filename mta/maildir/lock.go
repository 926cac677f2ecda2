package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LockFile is the name, in the Maildir, of the file that a POP3 session locks with flock(2). It stays there: removing it
// would let two sessions lock two files of that name.
const LockFile = "posthouse-pop3.lock"

// lockSession opens and locks the lock file without waiting; ErrInUse when another session has it, fs.ErrNotExist when
// there is no Maildir. Closing the file gives the lock back, and so does the end of the process.
func lockSession(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func lock(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", f.Name())
	}
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var held error
	if err := c.Control(func(fd uintptr) { held = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	if errors.Is(held, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	if held != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), held)
	}
	return nil
}
