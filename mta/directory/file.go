package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/conffile"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// checkEvery is the longest that a change of the file stays unseen, and how long it must have been left alone.
const checkEvery = time.Second

// unsettled is how young a file may be for a second change to leave no trace in its times: the kernel's clock for them is
// coarse. A file that young when it was read is read once more.
const unsettled = 100 * time.Millisecond

// Options of Open. The zero value is for a program that checks passwords of full addresses.
type Options struct {
	// DefaultDomain completes a login without a domain; "" refuses such logins.
	DefaultDomain string
	// DomainAlias gives the domain whose users a domain has, in A-labels and lower case, for domains that are another's alias.
	DomainAlias map[string]string
	// DropVerifiers forgets verifiers while reading: for a program that checks no passwords.
	DropVerifiers bool
	// Scram says when the SCRAM mechanisms are offered: ScramAuto, which is also "", ScramAlways or ScramNever.
	Scram string
	// NoScramPlus keeps SCRAM-SHA-256-PLUS from being offered.
	NoScramPlus bool
	// Program is a checkpassword program and its arguments, which is asked for passwords in place of the verifiers; nil: none.
	Program []string
	// MaxChecks bounds the password checks at once, each of which takes a processor and up to 256 MiB; 0 = one a processor.
	MaxChecks int
	// MayBeAbsent takes a file that is not there for an empty one: on a host that has no users of its own.
	MayBeAbsent bool
	// Log gets users-reloaded and users-refused; nil for none.
	Log *maillog.Log
	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

// File is an open users file. It follows changes of the file: each call looks at it, at most once a second. It is safe for use
// by many goroutines.
type File struct {
	passwords
	path  string
	table atomic.Pointer[table]

	mu      sync.Mutex // guards the fields below; held while the file is read
	checked time.Time
	seen    fingerprint
	sum     [sha256.Size]byte
	fault   string // last reported
}

// Open reads a users file. It refuses a file that others can read, or with any fault: the error says file:line: what.
func Open(path string, opt Options) (*File, error) {
	f := &File{passwords: newPasswords(opt), path: path}
	data, fp, err := f.read()
	if err != nil {
		return nil, err
	}
	t, err := parse(path, data, opt.DropVerifiers)
	if err != nil {
		return nil, err
	}
	f.checked, f.seen, f.sum = f.opt.Now(), fp, sha256.Sum256(data)
	f.table.Store(t)
	return f, nil
}

// Lookup returns the user with an address; ErrUnknown if there is none.
func (f *File) Lookup(_ context.Context, a mta.Address) (User, error) {
	f.refresh()
	if u := f.find(f.table.Load(), a); u != nil {
		return *u, nil
	}
	return User{}, ErrUnknown
}

// Recheck has the next call look at the file, however short ago the last one did.
func (f *File) Recheck() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checked = time.Time{}
}

// Users returns how many users there are.
func (f *File) Users() int {
	f.refresh()
	return len(f.table.Load().users)
}

func (f *File) find(t *table, a mta.Address) *User { return t.users[f.key(a)] }

// fingerprint is what changes when a file does. The zero value is that of no file.
type fingerprint struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
	mode         uint32
}

func fingerprintOf(st *unix.Stat_t) fingerprint {
	return fingerprint{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim, st.Mode}
}

// refresh reads the file again if it has changed. One caller does the work; the others go on with the table there is.
func (f *File) refresh() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	now := f.opt.Now()
	if age := now.Sub(f.checked); age >= 0 && age < checkEvery {
		return
	}
	f.checked = now
	var st unix.Stat_t
	if err := unix.Stat(f.path, &st); err == nil && (fingerprintOf(&st) == f.seen || beingWritten(&st, now)) {
		return
	}
	if err := f.reload(); err != nil {
		if err.Error() != f.fault {
			f.fault = err.Error()
			f.opt.Log.UsersRefused(f.path, err)
		}
	}
}

// beingWritten says whether an editor may be writing to the file: half of one has no fault, and lacks users. Of one that was
// put into its place by a rename, as a whole, the inode has changed after the content.
func beingWritten(st *unix.Stat_t, now time.Time) bool {
	age := now.Sub(time.Unix(st.Mtim.Unix()))
	return st.Mtim == st.Ctim && age >= 0 && age < checkEvery
}

// read returns the file's content and state.
func (f *File) read() ([]byte, fingerprint, error) {
	data, fp, err := readFile(f.path)
	if f.opt.MayBeAbsent && errors.Is(err, fs.ErrNotExist) {
		return nil, fingerprint{}, nil
	}
	return data, fp, err
}

func (f *File) reload() error {
	data, fp, err := f.read()
	if err != nil {
		return err
	}
	f.seen = fp
	sum := sha256.Sum256(data)
	if sum == f.sum && f.fault == "" {
		return nil
	}
	t, err := parse(f.path, data, f.opt.DropVerifiers)
	if err != nil {
		return err
	}
	f.sum, f.fault = sum, ""
	f.table.Store(t)
	f.opt.Log.UsersReloaded(f.path, len(t.users))
	return nil
}

// readFile reads the whole file and tells its state; a zero state when it may have changed meanwhile.
func readFile(path string) ([]byte, fingerprint, error) {
	file, _, err := conffile.Open(path)
	if err != nil {
		return nil, fingerprint{}, err
	}
	defer file.Close()
	before, err := statFile(file)
	if err != nil {
		return nil, fingerprint{}, err
	}
	if before.Mode&0o007 != 0 {
		return nil, fingerprint{}, fmt.Errorf("%s: mode %04o lets others at the verifiers; allowed: 0640 or less", path, before.Mode&0o7777)
	}
	data, err := conffile.ReadFrom(file, MaxFile)
	if err != nil {
		return nil, fingerprint{}, err
	}
	after, err := statFile(file)
	if err != nil {
		return nil, fingerprint{}, err
	}
	fp := fingerprintOf(&before)
	age := time.Since(time.Unix(before.Ctim.Unix()))
	if fp != fingerprintOf(&after) || age >= 0 && age < unsettled {
		fp = fingerprint{}
	}
	return data, fp, nil
}

func statFile(file *os.File) (st unix.Stat_t, err error) {
	c, err := file.SyscallConn()
	if err != nil {
		return st, err
	}
	var e error
	if err := c.Control(func(fd uintptr) { e = unix.Fstat(int(fd), &st) }); err != nil {
		return st, err
	}
	if e != nil {
		return st, fmt.Errorf("stat %s: %w", file.Name(), e)
	}
	return st, nil
}

// List reads a users file as a daemon would and returns its users in the file's order; the error is what the daemon would say.
func List(path string) ([]User, error) {
	data, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if _, err := parse(path, data, true); err != nil {
		return nil, err
	}
	return newLines(data).Users(), nil
}
