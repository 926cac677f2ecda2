package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeName is the name under which this program starts itself, to become a user and then the program that is wanted:
//
//	become ACCOUNT PROGRAM ARGUMENT...
//
// A process that has just been forked holds its parent up until it is another program. Were it the user's by then, that
// user could stop it there, and with it all that this program does.
const becomeName = "become"

// cannotBecome is the status with which it ends where that fails: such a user has more processes than allowed, or the
// program is missing.
const cannotBecome = 126

// command is the process: a session and process group of its own, with the rights of the user alone.
func (j job) command() (*exec.Cmd, error) {
	a := j.account
	who, err := json.Marshal(a)
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{becomeName, string(who)}, j.argv...), Dir: "/", Stdin: j.stdin, Stdout: j.stdout,
		Env:         []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "SHELL=/bin/sh", "HOME=" + a.Home, "USER=" + a.Name, "LOGNAME=" + a.Name},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}, err
}

// become is the other side of command. It returns only where it fails.
func become(args []string) error {
	var a account
	if len(args) < 2 {
		return errors.New(becomeName + " is for as-user itself")
	}
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil || !a.IsPerson(1) {
		return fmt.Errorf("%s: no account to become, %w", becomeName, errors.Join(err, errNobody))
	}
	groups := make([]int, len(a.Groups))
	for i, g := range a.Groups {
		groups[i] = int(g)
	}
	if err := keepCapabilities([]int{unix.CAP_SETUID, unix.CAP_SETGID}, 0); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	setNice(userNice)
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(int(a.GID)); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(int(a.UID)); err != nil { // takes the capabilities too
		return fmt.Errorf("setuid: %w", err)
	}
	return fmt.Errorf("%s: %w", args[1], syscall.Exec(args[1], args[1:], os.Environ()))
}
