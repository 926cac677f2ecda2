// Package confine takes from a running process what it does not need for its work in a few folders: all other files
// (Landlock), and the system calls that start programs, open sockets or reach into other processes (seccomp). It is a second
// line, behind the rights of the user that the process runs as: what is missing is said, and no reason to stop.
//
// Both count for all threads of the process, those that Go has started already among them, and cannot be taken back.
package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// wanted is the version of Landlock's interface that knows all that is asked for: files, TCP, and signals to and abstract
// sockets of processes outside.
const wanted = 6

// Process leaves to this process the files and folders of read, for reading, and the folders of write, in and between which
// it may do all; those that do not exist are left out, also when they are made later. It may not run a program or fork, nor open
// or accept a connection; those that are open stay. The error names what is not in force, where the kernel is old or the
// service manager forbids it: all the rest is.
func Process(read, write []string) error {
	return errors.Join(files(read, write), calls())
}

// files asks for what the kernel has of Landlock.
func files(read, write []string) error {
	var rules []landlock.Rule
	for _, path := range read {
		switch st, err := os.Stat(path); {
		case err == nil && st.IsDir():
			rules = append(rules, landlock.RODirs(path))
		case err == nil:
			rules = append(rules, landlock.ROFiles(path))
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("landlock: %w", err)
		}
	}
	for _, path := range write {
		switch _, err := os.Stat(path); {
		case err == nil: // a message moves from folder to folder
			rules = append(rules, landlock.RWDirs(path).WithRefer())
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("landlock: %w", err)
		}
	}
	if err := landlock.V6.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	switch has := landlockVersion(); {
	case has == 0:
		return errors.New("landlock: the kernel has none, or it is forbidden here: all files of the user are in reach")
	case has < wanted:
		return fmt.Errorf("landlock: the kernel has version %d, and not %d: it cannot keep all of files, TCP and signals out of reach", has, wanted)
	}
	return nil
}

// landlockVersion is that of the kernel's interface, 0 for none.
func landlockVersion() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(n)
}
