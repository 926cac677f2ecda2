package maildir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockFile is the name, in the Maildir, of the file that a POP3 session locks with flock(2). It stays there: removing it
// would let two sessions lock two files of that name. Where sessions of a mailbox must keep apart in time, the last one's
// beginning stands in it.
const LockFile = "posthouse-pop3.lock"

// sessionLock is what keeps other sessions out: the lock on LockFile, which the kernel takes back when the process ends, and
// where other hosts may have the mailbox too, a lease.
type sessionLock struct {
	file     *os.File
	lease    *lease // nil on a filesystem of this host alone
	interval time.Duration
}

// lockSession takes the mailbox without waiting; ErrInUse when another session has it, ErrTooSoon when the last one began
// less than interval ago.
func lockSession(dir string, interval time.Duration, shared bool, now time.Time) (*sessionLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	l := &sessionLock{file: f, interval: interval}
	if err = lock(f); err == nil && interval > 0 {
		if last := l.last(); !last.After(now) && now.Sub(last) < interval {
			err = ErrTooSoon
		}
	}
	if err == nil && shared {
		l.lease, err = takeLease(filepath.Join(dir, LeaseFile))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return l, nil
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

// last is when the last session began, where its lock file tells; else long ago.
func (l *sessionLock) last() time.Time {
	b, err := io.ReadAll(io.LimitReader(l.file, 32))
	if err != nil {
		return time.Time{}
	}
	sec, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}

// began writes down that a session begins, where the next one will want to know.
func (l *sessionLock) began(now time.Time) error {
	if l.interval <= 0 {
		return nil
	}
	text := strconv.FormatInt(now.Unix(), 10) + "\n"
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return l.file.Truncate(int64(len(text)))
}

// held says whether the mailbox is still ours; ErrLost where it is not.
func (l *sessionLock) held() error {
	if l.lease == nil {
		return nil
	}
	return l.lease.held()
}

func (l *sessionLock) release() error {
	if l.lease != nil {
		l.lease.release()
	}
	return l.file.Close()
}
