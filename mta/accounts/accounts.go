// Package accounts finds the users of the machine: those of /etc/passwd, and where it is told so those that the name service
// switch knows besides (nsswitch.conf(5): LDAP, sssd, winbind). Go without C knows the files alone, so getent(1) is asked for
// the others, by a fixed path, with an empty environment, a time bound, and strictness for what it says.
//
// The files are read first, and who is in them is never asked for elsewhere: a name service that hangs holds up its own
// users alone. Whoever starts something as a user asks here himself, and believes nobody else.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Account is a user of the machine.
type Account struct {
	Name, Home, Shell string // Shell is empty where the account stands in /etc/passwd
	UID, GID          uint32

	nss bool
}

// ErrUnknown says that there is no such user.
var ErrUnknown = errors.New("unknown user")

// nobody is the first of the uids that are nobody's: 65534, and those that overflow or mean "no change".
const nobody = 65534

// IsPerson says whether mail goes to an account, and something is started as it: not below the uid that the configuration
// has, and neither root nor nobody.
func (a Account) IsPerson(least int) bool {
	return int64(a.UID) >= int64(least) && a.UID != 0 && a.UID != nobody && a.UID != nobody+1 && a.UID != ^uint32(0)
}

// Source is where accounts are looked up. It is safe for use by many goroutines. A nil Source is New(false).
type Source struct {
	nss     bool
	Program string // getent
	// Start starts the process, and Ended is told that it is over; nil for exec.Cmd.Start and for nothing.
	Start func(*exec.Cmd) error
	Ended func(pid int)

	timeout, pause, keep time.Duration
	turns                chan struct{}

	mu     sync.Mutex // guards what follows
	cache  map[string]answer
	away   time.Time // until then it is not asked: it did not answer
	proven string    // a name that it knew last: while it says that there is none, it says nothing of others
}

type answer struct {
	text  string
	until time.Time
}

const (
	// timeout bounds one question: sssd asks its server for six seconds by itself.
	timeout = 10 * time.Second
	// pause is how long a name service that did not answer is not asked again.
	pause = 30 * time.Second
	// keep is how long an answer counts. The name service has a cache of its own; this one is for bursts.
	keep = 10 * time.Second
	// maxTurns bounds the questions at once, and maxCache the answers that are kept.
	maxTurns, maxCache = 4, 4096
)

// New returns a Source of the files, and with nss of the name service switch behind them.
func New(nss bool) *Source {
	return &Source{nss: nss, Program: "/usr/bin/getent", timeout: timeout, pause: pause, keep: keep, turns: make(chan struct{}, maxTurns), cache: map[string]answer{}}
}

// With is New for a configuration that is read again: s itself, where that says the same of the name service. What it has known
// counts on, so that a reload while the service is stopped makes nobody unknown. s may be nil. One of them is to be closed.
func (s *Source) With(nss bool) *Source {
	if s != nil && s.nss == nss {
		return s
	}
	n := New(nss)
	if s != nil {
		n.turns = s.turns // what still runs takes its turn
	}
	return n
}

// Close waits until no getent runs, and lets none start: it is for the end, when nobody asks any more. It does not wait
// for ever: a process that a dead disk or server holds outlives even SIGKILL.
func (s *Source) Close() {
	late := time.NewTimer(s.timeout + pipeTime)
	defer late.Stop()
	for range cap(s.turns) {
		select {
		case s.turns <- struct{}{}:
		case <-late.C:
			return
		}
	}
}

// Lookup returns the account of a name; ErrUnknown if there is none. All other errors are for the moment.
func (s *Source) Lookup(ctx context.Context, name string) (Account, error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	switch {
	case err == nil:
		return fromFile(u)
	case !errors.As(err, &unknown):
		return Account{}, err
	case s == nil || !s.nss || !isName(name):
		return Account{}, ErrUnknown
	}
	text, err := s.known(ctx, name)
	if err != nil {
		return Account{}, err
	}
	a, err := parse(text)
	if err == nil && a.Name != name { // another spelling, or a number that is a uid
		err = ErrUnknown
	}
	return a, err
}

// LookupUID returns an account with a uid, as Lookup does.
func (s *Source) LookupUID(ctx context.Context, uid uint32) (Account, error) {
	key := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(key); err == nil {
		return fromFile(u)
	} else if s == nil || !s.nss {
		return Account{}, ErrUnknown
	}
	var a Account
	text, err := s.ask(ctx, "passwd", key)
	if err == nil {
		a, err = parse(text)
	}
	var absent user.UnknownUserError // a name of the files is that of who is in them
	if _, ferr := user.Lookup(a.Name); err == nil && (a.UID != uid || !errors.As(ferr, &absent)) {
		err = ErrUnknown
	}
	return a, err
}

// Groups returns the groups that an account has beside its own.
func (s *Source) Groups(ctx context.Context, a Account) ([]uint32, error) {
	var ids []string
	if a.nss {
		text, err := s.ask(ctx, "initgroups", a.Name)
		if err != nil {
			return nil, fmt.Errorf("groups of user %s: %w", a.Name, err)
		}
		ids = strings.Fields(text)
		if len(ids) == 0 || ids[0] != a.Name {
			return nil, fmt.Errorf("groups of user %s: getent says %.32q", a.Name, text)
		}
		ids = ids[1:]
	} else {
		var err error
		u := user.User{Username: a.Name, Uid: strconv.FormatUint(uint64(a.UID), 10), Gid: strconv.FormatUint(uint64(a.GID), 10)}
		if ids, err = u.GroupIds(); err != nil {
			return nil, err
		}
	}
	groups := make([]uint32, len(ids))
	for i, text := range ids {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("groups of user %s: %w", a.Name, err)
		}
		groups[i] = uint32(n)
	}
	return groups, nil
}

func fromFile(u *user.User) (Account, error) {
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		return Account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return Account{Name: u.Username, Home: u.HomeDir, UID: uint32(uid), GID: uint32(gid)}, nil
}

// parse reads a line of passwd(5) as getent prints it.
func parse(text string) (Account, error) {
	line, rest, ended := strings.Cut(text, "\n")
	f := strings.Split(line, ":")
	bad := !ended || rest != "" || len(f) != 7 || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f })
	if bad || !strings.HasPrefix(f[5], "/") {
		return Account{}, fmt.Errorf("getent says %.64q, which is no line of passwd(5) with a home", line)
	}
	uid, uerr := strconv.ParseUint(f[2], 10, 32)
	gid, gerr := strconv.ParseUint(f[3], 10, 32)
	return Account{Name: f[0], Home: f[5], Shell: f[6], UID: uint32(uid), GID: uint32(gid), nss: true}, errors.Join(uerr, gerr)
}

// maxName is more than a name has (useradd(8)).
const maxName = 64

// isName keeps what no account is called from getent, which would take it for an option or for a number.
func isName(s string) bool {
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-0123456789"
	return s != "" && len(s) <= maxName && strings.Trim(s, letters) == "" && s[0] != '-' && s[0] != '.' && strings.Trim(s, "0123456789") != ""
}
