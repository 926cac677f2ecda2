package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that as-user keeps: to become a user, to end what that user's processes are, and to read
// /etc/shadow where not even its owner may.
var needed = []int{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL, unix.CAP_DAC_READ_SEARCH}

// inherited are those that root has in another program, though the bounding set is empty: this one again, which becomes a
// user (become), a checkpassword program, with which PAM reads /etc/shadow and what only a user may read, and getent.
const inherited = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_DAC_READ_SEARCH

// Limits of each process that is started, beside the bound that the service manager puts on all of them together.
var limits = map[int]uint64{
	unix.RLIMIT_CORE:  0,    // mail stays out of core dumps
	unix.RLIMIT_NPROC: 1024, // of a user, who may be at work on this machine besides; less than TasksMax= of the unit
	unix.RLIMIT_DATA:  1 << 30,
}

// ownNice is the nice value of this program, and what it starts has userNice: who is to end the processes of a user gets to
// that, however many they are.
const (
	ownNice  = -10
	userNice = 0
)

// setNice sets the nice value of all threads, where that is allowed.
func setNice(n int) {
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(n))
}

// confine gives up, for this process and for all that it starts, what nothing of it needs. No set-user-id program can give
// any of it back: the bounding set is empty, and no_new_privs is set.
func confine() error {
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("no_new_privs: %w", e)
	}
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	setNice(ownNice) // the service manager may have done it: what is not allowed here is no fault
	if err := keepCapabilities(append([]int{unix.CAP_SETPCAP}, needed...), inherited); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for c := uintptr(0); c < 64; c++ {
		_, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0)
		if e == unix.EINVAL {
			break // the kernel has no more of them
		}
		if e != 0 {
			return fmt.Errorf("capability bounding set: %w", e)
		}
	}
	if err := keepCapabilities(needed, inherited); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for resource, most := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(resource, &now); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
		most = min(most, now.Max)
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	// What a process leaves behind becomes a child of this one, which ends it.
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// closeOnExec keeps what who has started this program left open from all that this one starts.
func closeOnExec() error {
	names, err := os.ReadDir("/proc/self/fd")
	for _, e := range names {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// keepCapabilities drops all but those named, on all threads; inheritable are those that another program may have of them.
func keepCapabilities(needed []int, inheritable uint32) error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, keep [2]unix.CapUserData
	if err := unix.Capget(&h, &have[0]); err != nil {
		return err
	}
	for _, c := range needed {
		bit := uint32(1) << (c % 32)
		if have[c/32].Permitted&bit == 0 && c != unix.CAP_DAC_READ_SEARCH {
			return fmt.Errorf("capability %d is missing (capabilities(7)): %w", c, errors.ErrUnsupported)
		}
		keep[c/32].Permitted |= have[c/32].Permitted & bit
	}
	keep[0].Effective, keep[1].Effective = keep[0].Permitted, keep[1].Permitted
	keep[0].Inheritable = keep[0].Permitted & inheritable
	h.Pid = 0 // each thread for itself
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&keep[0])), 0); e != 0 {
		return e
	}
	return nil
}
