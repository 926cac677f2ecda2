package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// LeaseFile is the name, in a Maildir that other hosts have too, of the file that says which of them has it open.
const LeaseFile = "posthouse-pop3.lease"

// A lease is renewed every leaseEvery and may be broken when nobody has renewed it for leaseAge, by the filesystem's clock.
const (
	leaseEvery = 30 * time.Second
	leaseAge   = 3 * time.Minute
)

// lease keeps sessions on other hosts out where flock(2) does not reach them: an NFS mount with local locks, a filesystem in
// user space. It is a file that one host alone can create (open with O_EXCL, which NFS does on the server). The session
// renews its time; a host that has ended does not, and its lease is broken. A lease of this host is broken at once: its
// session is over, for we have the lock of LockFile.
type lease struct {
	path string
	file *os.File
	ino  uint64

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	err   error // ErrLost once it is
}

// takeLease makes the file; ErrInUse where another host has it.
func takeLease(path string) (*lease, error) {
	host, err := thisHost()
	if err != nil {
		return nil, err
	}
	for range 3 {
		l, err := createLease(path, host)
		if !errors.Is(err, fs.ErrExist) {
			return l, err
		}
		if err := breakLease(path, host); err != nil {
			return nil, err
		}
	}
	return nil, ErrInUse
}

// thisHost is a name that no other kernel has: several hosts may be called alike, and of flock(2) a kernel knows all.
func thisHost() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return host + "/" + strings.TrimSpace(string(boot)), nil
}

func createLease(path, host string) (*lease, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, err
	}
	l := &lease{path: path, file: f}
	if _, err = fmt.Fprintf(f, "%s %d\n", host, os.Getpid()); err == nil {
		l.ino, err = inodeOf(f)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	l.timer = time.AfterFunc(leaseEvery, l.renew)
	return l, nil
}

// breakLease removes a lease that nobody holds any more; ErrInUse where somebody does.
func breakLease(path, host string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, 512))
	if err != nil {
		return err
	}
	owner, _, _ := strings.Cut(string(text), " ")
	aside := path + "." + rand.Text()
	now, err := clock(aside)
	if err != nil {
		return err
	}
	if owner != host && now.Sub(st.ModTime()) < leaseAge {
		return ErrInUse
	}
	return moveAside(path, aside, f)
}

// moveAside removes the lease that f is. Of several hosts that break it at once, one may have its new lease at path by
// now: that one goes back.
func moveAside(path, aside string, f *os.File) error {
	if err := os.Rename(path, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer os.Remove(aside)
	judged, err := inodeOf(f)
	if err != nil {
		return err
	}
	st, err := os.Lstat(aside)
	if err != nil {
		return err
	}
	if fileInode(st) != judged {
		_ = os.Link(aside, path)
		return ErrInUse
	}
	return nil
}

// clock returns the time by the filesystem's own clock, which may be that of a server. It makes a file for that.
func clock(path string) (time.Time, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if rerr := os.Remove(path); err == nil {
		err = rerr
	}
	if err != nil {
		return time.Time{}, err
	}
	return st.ModTime(), nil
}

// renew tells other hosts that the session goes on.
func (l *lease) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	if l.check(); l.err == nil {
		// With no times given the filesystem takes its own clock.
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, l.path, nil, unix.AT_SYMLINK_NOFOLLOW)
		l.timer.Reset(leaseEvery)
	}
}

// held says whether the lease is still there; ErrLost where it was broken.
func (l *lease) held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.check()
	return l.err
}

// check looks whether the file at path is ours. What cannot be looked at, as while a server is away, is not lost.
func (l *lease) check() {
	st, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && fileInode(st) != l.ino {
		l.err = ErrLost
	}
}

func (l *lease) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	l.timer = nil
	if l.check(); l.err == nil {
		_ = os.Remove(l.path)
	}
	_ = l.file.Close()
}

func inodeOf(f *os.File) (uint64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fileInode(st), nil
}
