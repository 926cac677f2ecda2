package main

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// owned is the machine's filesystem, in which what root makes belongs to another user, with the modes that queue-runner would
// give it. The group is that of the folder around it, where this is set-group-ID.
type owned struct {
	durable.OS
	uid int
}

// ownedBy makes files as the owner of an existing one would.
func ownedBy(st fs.FileInfo) durable.FS {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return durable.OS{}
	}
	return owned{uid: int(sys.Uid)}
}

func (o owned) Create(path string, perm fs.FileMode) (durable.File, error) {
	f, err := o.OS.Create(path, perm)
	if err == nil {
		err = o.give(path, perm)
	}
	return f, err
}

func (o owned) Mkdir(path string, perm fs.FileMode) error {
	err := o.OS.Mkdir(path, perm)
	if err == nil {
		err = o.give(path, perm)
	}
	return err
}

// give follows no link, and keeps the set-group-ID that a new folder has inherited.
func (o owned) give(path string, perm fs.FileMode) error {
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if err := os.Lchown(path, o.uid, -1); err != nil {
		return err
	}
	return unix.Fchmodat(unix.AT_FDCWD, path, uint32(perm.Perm())|uint32(st.Sys().(*syscall.Stat_t).Mode&unix.S_ISGID), 0)
}
