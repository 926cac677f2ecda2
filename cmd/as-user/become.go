package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// becomeName is the name under which this program starts itself, to become a user and then the program that is wanted:
//
//	become UID GID GROUP,... PROGRAM ARGUMENT...
//
// A process that has just been forked holds its parent up until it is another program. Were it the user's by then, that
// user could stop it there, and with it all that this program does.
const becomeName = "become"

// cannotBecome is the status with which it ends where that fails: such a user has more processes than allowed, or the
// program is missing.
const cannotBecome = 126

// command is the process: a session and process group of its own, with the rights of the user alone.
func (j job) command() *exec.Cmd {
	a := j.account
	groups := make([]string, len(a.groups))
	for i, g := range a.groups {
		groups[i] = strconv.FormatUint(uint64(g), 10)
	}
	args := []string{becomeName, strconv.FormatUint(uint64(a.uid), 10), strconv.FormatUint(uint64(a.gid), 10), strings.Join(groups, ",")}
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: append(args, j.argv...), Dir: "/", Stdin: j.stdin, Stdout: j.stdout,
		Env:         []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "SHELL=/bin/sh", "HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
}

// become is the other side of command. It returns only where it fails.
func become(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("%s is for as-user itself", becomeName)
	}
	uid, uerr := strconv.ParseUint(args[0], 10, 32)
	gid, gerr := strconv.ParseUint(args[1], 10, 32)
	if uerr != nil || gerr != nil || uid == 0 {
		return fmt.Errorf("%s: uid %q, gid %q", becomeName, args[0], args[1])
	}
	var groups []int
	for text := range strings.SplitSeq(args[2], ",") {
		if g, err := strconv.ParseUint(text, 10, 32); err == nil {
			groups = append(groups, int(g))
		} else if text != "" {
			return fmt.Errorf("%s: group %q", becomeName, text)
		}
	}
	h, keep := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	for _, c := range []int{unix.CAP_SETUID, unix.CAP_SETGID} { // and nothing to be inherited
		keep[0].Permitted |= 1 << c
		keep[0].Effective |= 1 << c
	}
	if err := setCapabilities(&h, &keep[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	setNice(userNice)
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(int(gid)); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(int(uid)); err != nil { // takes the capabilities too
		return fmt.Errorf("setuid: %w", err)
	}
	return fmt.Errorf("%s: %w", args[3], syscall.Exec(args[3], args[3:], os.Environ()))
}

// setCapabilities is capset(2) for all threads.
func setCapabilities(h *unix.CapUserHeader, d *unix.CapUserData) error {
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(h)), uintptr(unsafe.Pointer(d)), 0); e != 0 {
		return e
	}
	return nil
}
