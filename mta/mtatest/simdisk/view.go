package simdisk

import (
	"io"
	"io/fs"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// View is the disk as one process sees it.
type View struct {
	d    *Disk
	name string
	proc int
	gen  int
}

var _ durable.FS = (*View)(nil)

// Process starts a process: its files and locks are its own, and end with Kill of its name or with the next power loss.
func (d *Disk) Process(name string) *View {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &View{d, name, d.procs[name], d.gen}
}

func (v *View) dead() bool { return v.d.procs[v.name] != v.proc || v.d.gen != v.gen }

// look is for operations that change nothing: they are not counted.
func (v *View) look(op, path string) (*inode, error) {
	if v.d.off || v.dead() {
		return nil, ErrDead
	}
	n, _, _ := v.d.find(path)
	if n == nil {
		return nil, pathError(op, path, errNotExist)
	}
	return n, nil
}

// Create implements durable.FS.
func (v *View) Create(path string, perm fs.FileMode) (durable.File, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if err := v.d.begin(v, "create", path); err != nil {
		return nil, pathError("create", path, err)
	}
	n, err := v.make(path, perm, false)
	if err != nil {
		return nil, pathError("create", path, err)
	}
	return &file{v: v, n: n, path: path, write: true}, nil
}

func (v *View) make(path string, perm fs.FileMode, dir bool) (*inode, error) {
	n, parent, name := v.d.find(path)
	switch {
	case n != nil:
		return nil, syscall.EEXIST
	case parent == nil || parent.dir == nil:
		return nil, errNotExist
	}
	n = &inode{dev: parent.dev, mode: perm, mtime: v.d.now()}
	if dir {
		n.dir, n.mode = map[string]*inode{}, perm|fs.ModeDir
	}
	parent.dir[name] = n
	v.d.log = append(v.d.log, &nameOp{node: n, to: parent, name: name})
	return n, nil
}

// Mkdir implements durable.FS.
func (v *View) Mkdir(path string, perm fs.FileMode) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if n, err := v.look("mkdir", path); err == nil && n != nil {
		return pathError("mkdir", path, syscall.EEXIST)
	}
	if err := v.d.begin(v, "mkdir", path); err != nil {
		return pathError("mkdir", path, err)
	}
	if _, err := v.make(path, perm, true); err != nil {
		return pathError("mkdir", path, err)
	}
	return nil
}

// Open implements durable.FS.
func (v *View) Open(path string) (durable.File, error) { return v.open(path, false) }

// OpenWrite implements durable.FS.
func (v *View) OpenWrite(path string) (durable.File, error) { return v.open(path, true) }

func (v *View) open(path string, write bool) (durable.File, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("open", path)
	if err != nil {
		return nil, err
	}
	if n.dir != nil {
		return nil, pathError("open", path, durable.ErrNoFile)
	}
	return &file{v: v, n: n, path: path, write: write}, nil
}

// Append implements durable.FS.
func (v *View) Append(path string, p []byte) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("append", path)
	if err != nil {
		return err
	}
	if n.dir != nil {
		return pathError("append", path, syscall.EISDIR)
	}
	f := &file{v: v, n: n, path: path, write: true}
	return f.change("write", change{off: n.data.size, bytes: append([]byte{}, p...)})
}

// Rename implements durable.FS.
func (v *View) Rename(from, to string) error { return v.rename(from, to, true) }

// RenameNoReplace implements durable.FS.
func (v *View) RenameNoReplace(from, to string) error { return v.rename(from, to, false) }

func (v *View) rename(from, to string, replace bool) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	fail := func(err error) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: err} }
	if err := v.d.begin(v, "rename", to); err != nil {
		return fail(err)
	}
	n, fp, fname := v.d.find(from)
	old, tp, tname := v.d.find(to)
	switch {
	case n == nil || tp == nil || tp.dir == nil:
		return fail(errNotExist)
	case tp.dev != n.dev:
		return fail(syscall.EXDEV)
	case old != nil && !replace:
		return fail(syscall.EEXIST)
	}
	delete(fp.dir, fname)
	tp.dir[tname] = n
	v.d.log = append(v.d.log, &nameOp{node: n, from: fp, to: tp, name: tname})
	return nil
}

// Remove implements durable.FS.
func (v *View) Remove(path string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if _, err := v.look("unlink", path); err != nil {
		return err
	}
	if err := v.d.begin(v, "remove", path); err != nil {
		return pathError("unlink", path, err)
	}
	n, parent, name := v.d.find(path)
	delete(parent.dir, name)
	v.d.log = append(v.d.log, &nameOp{node: n, from: parent})
	return nil
}

// ReadDir implements durable.FS.
func (v *View) ReadDir(path string) ([]string, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("readdir", path)
	if err != nil {
		return nil, err
	}
	if n.dir == nil {
		return nil, pathError("readdir", path, syscall.ENOTDIR)
	}
	return sortedNames(n.dir), nil
}

// Stat implements durable.FS.
func (v *View) Stat(path string) (fs.FileInfo, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("stat", path)
	if err != nil {
		return nil, err
	}
	_, _, name := v.d.find(path)
	return info{name, n.data.size, n.mode, n.mtime}, nil
}

type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mtime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// SyncDir implements durable.FS.
func (v *View) SyncDir(path string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("syncdir", path)
	if err != nil {
		return err
	}
	if err := v.d.begin(v, "syncdir", path); err != nil {
		return pathError("syncdir", path, err)
	}
	for _, op := range v.d.log {
		op.durable = op.durable || op.from == n || op.to == n
	}
	return nil
}

// SyncFS implements durable.FS.
func (v *View) SyncFS(path string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("syncfs", path)
	if err != nil {
		return err
	}
	err = v.d.begin(v, "syncfs", path)
	v.d.walk(v.d.root, func(x *inode) {
		switch {
		case x.dir != nil || x.dev != n.dev || len(x.unsynced) == 0:
		case err == nil:
			x.durable, x.unsynced = x.data.clone(), nil
		case !v.d.off && !v.dead():
			x.unsynced, x.poisoned = nil, true
		}
	})
	if err != nil {
		return pathError("syncfs", path, err)
	}
	v.d.settle(n.dev)
	return nil
}

// Device implements durable.FS.
func (v *View) Device(path string) (uint64, bool, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	n, err := v.look("stat", path)
	if err != nil {
		return 0, false, err
	}
	return n.dev, true, nil
}

// Free implements durable.FS.
func (v *View) Free(string) (uint64, error) { return math.MaxInt64, nil }

type file struct {
	v     *View
	n     *inode
	path  string
	write bool
	done  bool
}

// change counts and applies one change to the bytes.
func (f *file) change(name string, c change) error {
	if f.done || !f.write {
		return pathError(name, f.path, fs.ErrClosed)
	}
	if err := f.v.d.begin(f.v, name, f.path); err != nil {
		if half := len(c.bytes) / 2; half > 0 && !f.v.d.off && !f.v.dead() {
			f.apply(change{off: c.off, bytes: append([]byte(nil), c.bytes[:half]...)})
		}
		return pathError(name, f.path, err)
	}
	f.apply(c)
	return nil
}

func (f *file) apply(c change) {
	f.n.data.apply(c)
	f.n.unsynced = append(f.n.unsynced, c)
	f.n.mtime = f.v.d.now()
}

// WriteAt implements durable.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	if err := f.change("write", change{off: off, bytes: append([]byte{}, p...)}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Truncate implements durable.File.
func (f *file) Truncate(size int64) error {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	return f.change("truncate", change{size: size})
}

// Allocate implements durable.File.
func (f *file) Allocate(size int64) error {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	return f.change("allocate", change{size: max(size, f.n.data.size)})
}

// Sync implements durable.File.
func (f *file) Sync() error {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	if f.done {
		return pathError("sync", f.path, fs.ErrClosed)
	}
	err := f.v.d.begin(f.v, "sync", f.path)
	if err == nil && f.n.poisoned {
		err, f.n.poisoned = syscall.EIO, false
	}
	if err != nil {
		if !f.v.d.off && !f.v.dead() {
			f.n.unsynced = nil // forgotten: the cache shows it, the disk never will
		}
		return pathError("sync", f.path, err)
	}
	for _, c := range f.n.unsynced {
		f.n.durable.apply(c)
	}
	f.n.unsynced = nil
	return nil
}

// ReadAt implements durable.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	if f.done || f.v.d.off || f.v.dead() {
		return 0, ErrDead
	}
	n := f.n.data.read(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size implements durable.File.
func (f *file) Size() (int64, error) {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	if f.done || f.v.d.off || f.v.dead() {
		return 0, ErrDead
	}
	return f.n.data.size, nil
}

// Lock implements durable.File.
func (f *file) Lock() error {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	if f.done || f.v.d.off || f.v.dead() {
		return ErrDead
	}
	if f.n.lock != nil && f.n.lock != f {
		return pathError("flock", f.path, durable.ErrLocked)
	}
	f.n.lock = f
	return nil
}

// Close implements durable.File.
func (f *file) Close() error {
	f.v.d.mu.Lock()
	defer f.v.d.mu.Unlock()
	f.done = true
	if f.n.lock == f {
		f.n.lock = nil
	}
	return nil
}
