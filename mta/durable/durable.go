// Package durable is the file work of the spool and of the mailboxes: create, write, sync, rename, and the syncs of
// directories and filesystems that make a name last. mta/spool, mta/maildir and mta/local touch files through FS alone,
// so that a test can put a simulated disk under them, cut the power at any operation, and start again.
//
// What an FS promises: a rename inside one filesystem is atomic, but lasts only after a SyncDir of the folder (or a
// SyncFS); a file's bytes last only after its Sync (or a SyncFS); an error of Sync means that the bytes written since
// the last good one may be lost for ever, even where a later Sync succeeds.
package durable

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked says that another open file holds the lock.
var ErrLocked = errors.New("locked by another process")

// ErrNoFile says that there is something else than a file: a folder, a symbolic link, a FIFO.
var ErrNoFile = errors.New("not a regular file")

// FS is a tree of files. Paths are absolute or relative to the working directory, as for package os; errors are
// *fs.PathError or *os.LinkError and answer to fs.ErrNotExist, fs.ErrExist and the errno values.
type FS interface {
	// Create makes a file that was not there, for reading and writing.
	Create(path string, perm fs.FileMode) (File, error)
	// Open opens a file for reading. It never waits: of what is no file it says ErrNoFile, and so does OpenWrite.
	Open(path string) (File, error)
	// OpenWrite opens a file that is there for reading and writing.
	OpenWrite(path string) (File, error)
	// Append adds to the end of a file that is there, in one write: of several at a time none is lost. Nothing of it lasts
	// but by a SyncFS.
	Append(path string, p []byte) error
	Mkdir(path string, perm fs.FileMode) error
	// Rename replaces what is at the new path.
	Rename(from, to string) error
	// RenameNoReplace fails with fs.ErrExist when there is something at the new path.
	RenameNoReplace(from, to string) error
	Remove(path string) error
	// ReadDir returns the names in a folder, in no order.
	ReadDir(path string) ([]string, error)
	// Stat does not follow a symbolic link.
	Stat(path string) (fs.FileInfo, error)
	// SyncDir makes the names in a folder last.
	SyncDir(path string) error
	// SyncFS makes everything last that was done in the filesystem of path.
	SyncFS(path string) error
	// Device tells filesystems apart, and whether a SyncFS of this one is known to reach a disk of this machine.
	Device(path string) (dev uint64, local bool, err error)
	// Free returns how many bytes an ordinary user may still write.
	Free(path string) (uint64, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate makes room for bytes [0, size): writes there do not fail for want of space. The size grows to at
	// least that; new bytes read as zeros.
	Allocate(size int64) error
	// Sync makes the bytes, and the size needed to read them, last (fdatasync).
	Sync() error
	// Lock takes the file's lock without waiting; ErrLocked when another open file has it. Close gives it back, and
	// so does the end of the process.
	Lock() error
}
