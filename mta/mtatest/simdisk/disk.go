package simdisk

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrDead is what every operation of a killed process, or of any process after a power loss, returns.
var ErrDead = errors.New("simdisk: the process is dead")

// Op is one operation that changes something.
type Op struct {
	Seq  int
	Proc string
	Name string // create write truncate allocate sync rename remove mkdir syncdir syncfs
	Path string
}

// Disk is the machine's disks and its kernel's cache.
type Disk struct {
	// Hook is asked before each operation. An error is returned to the caller in place of the operation's effect, save
	// that a failed write may leave its first half and a failed sync loses what it was to write. It may call Kill and
	// PowerOff. It runs with the disk's lock held and must not use the disk otherwise.
	Hook func(Op) error
	// Now is the time of files; the zero time where it is nil.
	Now func() time.Time

	mu    sync.Mutex
	seq   int
	gen   int // counts power losses: handles of an earlier one are dead
	root  *inode
	base  map[*inode]map[string]*inode // the durable names, without log
	log   []*nameOp                    // what was done to names since
	procs map[string]int               // generation of each process: a killed one's handles are older
	off   bool
}

type inode struct {
	dir      map[string]*inode // names in it, nil for a file
	dev      uint64
	mode     fs.FileMode
	mtime    time.Time
	data     blob
	durable  blob
	unsynced []change
	poisoned bool // a SyncFS lost changes: the next Sync says so
	lock     *file
}

// change is a write (bytes at off) or a new size (bytes nil).
type change struct {
	off   int64
	bytes []byte
	size  int64
}

type nameOp struct {
	node     *inode
	from, to *inode // folders; to nil = unlinked, from nil = made
	name     string // in to
	durable  bool
}

// New returns an empty disk with one filesystem for each name.
func New(filesystems ...string) *Disk {
	d := &Disk{root: &inode{dir: map[string]*inode{}, mode: fs.ModeDir | 0o755}, procs: map[string]int{}}
	for i, name := range filesystems {
		d.root.dir[name] = &inode{dir: map[string]*inode{}, dev: uint64(i + 1), mode: fs.ModeDir | 0o755}
	}
	d.settle(0)
	return d
}

// settle makes all names of filesystem dev durable; of all of them where dev is 0.
func (d *Disk) settle(dev uint64) {
	if dev == 0 {
		d.base, d.log = map[*inode]map[string]*inode{}, nil
		d.snapshot(d.root)
		return
	}
	left := false
	for _, op := range d.log {
		op.durable = op.durable || op.node.dev == dev
		left = left || !op.durable
	}
	if !left {
		d.settle(0)
	}
}

func (d *Disk) snapshot(n *inode) {
	names := map[string]*inode{}
	for name, c := range n.dir {
		names[name] = c
		if c.dir != nil {
			d.snapshot(c)
		}
	}
	d.base[n] = names
}

// Ops returns how many operations there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seq
}

// Kill ends a process: its files are closed, its locks are free. From inside Hook use the Disk's PowerOff or KillLocked.
func (d *Disk) Kill(proc string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.KillLocked(proc)
}

// KillLocked is Kill for use by Hook.
func (d *Disk) KillLocked(proc string) {
	d.procs[proc]++
	d.walk(d.root, func(n *inode) {
		if n.lock != nil && n.lock.v.name == proc {
			n.lock = nil
		}
	})
}

// PowerOff stops every process at once, for use by Hook: nothing changes any more until PowerLoss.
func (d *Disk) PowerOff() { d.off = true }

// PowerLoss replaces the cache by what the disk might hold and starts the machine again.
func (d *Disk) PowerLoss(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = false
	d.gen++
	for p := range d.procs {
		d.procs[p]++
	}
	d.loseNames(rng)
	d.walk(d.root, func(n *inode) {
		n.lock = nil
		if n.dir == nil {
			n.loseData(rng)
		}
	})
	d.settle(0)
}

func (d *Disk) walk(n *inode, visit func(*inode)) {
	visit(n)
	for _, name := range sortedNames(n.dir) {
		d.walk(n.dir[name], visit)
	}
}

func sortedNames(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// loseNames rebuilds the tree from the durable names and a choice of the other operations.
func (d *Disk) loseNames(rng *rand.Rand) {
	all := map[*inode]map[string]*inode{}
	for n, names := range d.base {
		all[n] = map[string]*inode{}
		for k, v := range names {
			all[n][k] = v
		}
	}
	odds := rng.IntN(4) // of a loss: none, all, or some, so that the plain cases are seen often
	for _, op := range d.log {
		lost := odds == 1 || odds > 1 && rng.IntN(2) == 0
		if lost && !op.durable {
			continue
		}
		for _, names := range all {
			for k, v := range names {
				if v == op.node {
					delete(names, k)
				}
			}
		}
		if op.to != nil {
			if all[op.to] == nil {
				all[op.to] = map[string]*inode{}
			}
			all[op.to][op.name] = op.node
		}
	}
	var rebuild func(n *inode)
	rebuild = func(n *inode) {
		n.dir = all[n]
		if n.dir == nil {
			n.dir = map[string]*inode{}
		}
		for _, c := range n.dir {
			if c.dir != nil {
				rebuild(c)
			}
		}
	}
	rebuild(d.root)
}

// loseData chooses what of the unsynced changes is on the disk.
func (n *inode) loseData(rng *rand.Rand) {
	out := n.durable.clone()
	if len(n.unsynced) == 0 {
		n.data = out
		n.poisoned = false
		return
	}
	zeros := rng.IntN(2) == 0 // the size is there although bytes are missing
	switch rng.IntN(5) {
	case 0: // none
	case 1: // all
		for _, c := range n.unsynced {
			out.apply(c)
		}
	case 2: // the first few, the next one torn
		k := rng.IntN(len(n.unsynced) + 1)
		for i, c := range n.unsynced {
			if i < k {
				out.apply(c)
			} else if i == k && len(c.bytes) > 0 {
				out.apply(change{off: c.off, bytes: c.bytes[:rng.IntN(len(c.bytes))]})
			} else if zeros {
				out.grow(c.end())
			}
		}
	default: // any
		for _, c := range n.unsynced {
			if rng.IntN(2) == 0 {
				out.apply(c)
			} else if zeros {
				out.grow(c.end())
			}
		}
	}
	n.data, n.durable, n.unsynced, n.poisoned = out, out.clone(), nil, false
}

// begin counts an operation and asks Hook.
func (d *Disk) begin(v *View, name, path string) error {
	if d.off || v.dead() {
		return ErrDead
	}
	d.seq++
	if d.Hook != nil {
		if err := d.Hook(Op{d.seq, v.name, name, path}); err != nil {
			return err
		}
	}
	if d.off || v.dead() {
		return ErrDead
	}
	return nil
}

// find returns the inode at path, and its folder and last name.
func (d *Disk) find(path string) (n, parent *inode, name string) {
	n = d.root
	if filepath.Clean(path) == "/" {
		return n, nil, ""
	}
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		if n == nil || n.dir == nil {
			return nil, nil, part
		}
		parent, name = n, part
		n = n.dir[part]
	}
	return n, parent, name
}

func (d *Disk) now() time.Time {
	if d.Now == nil {
		return time.Time{}
	}
	return d.Now()
}

func pathError(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

var errNotExist = syscall.ENOENT
