package route

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/conffile"
)

const (
	// checkEvery is how often a file is looked at, at most.
	checkEvery = time.Second
	// settled is for how long a file must have been left alone: what an editor is writing may be half a file, which has no
	// fault and lacks aliases. It is also longer than a tick of the filesystem's clock, within which two changes look alike.
	settled = time.Second
)

// aliasFile is a table that follows its file. A change for the worse leaves the old table in force. A file that it includes may
// be somebody else's: a fault there concerns the aliases that include it alone, and leaves what was in it before in force.
type aliasFile struct {
	path   string
	now    func() time.Time
	report func(error)
	table  atomic.Pointer[aliasTable]

	mu       sync.Mutex               // guards what follows
	info     os.FileInfo              // nil: to be read again
	included map[string]os.FileInfo   // ... by path
	lists    map[string][]mta.Address // what was in them when they were good last
	absent   map[string]bool          // those that were not there
	next     time.Time
	fault    string // what was reported last
}

func openAliases(path string, now func() time.Time, report func(error)) (*aliasFile, error) {
	f := &aliasFile{path: path, now: now, report: report}
	lame, err := f.load()
	if err != nil {
		return nil, err
	}
	f.tell(lame, nil)
	f.next = now().Add(checkEvery)
	return f, nil
}

func (f *aliasFile) lookup(a mta.Address) []mta.Address {
	f.refresh()
	return f.table.Load().lookup(a)
}

// refresh reads the file when it has changed. One caller looks, the others take the table as it is.
func (f *aliasFile) refresh() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if f.now().Before(f.next) {
		return
	}
	f.next = f.now().Add(checkEvery)
	changed, err := f.changed()
	if err == nil && (!changed || f.beingWritten()) {
		return
	}
	var lame error
	if err == nil {
		lame, err = f.load()
	}
	f.tell(lame, err)
}

// tell reports what is wrong, once: of included files, or of all.
func (f *aliasFile) tell(lame, err error) {
	switch {
	case err != nil:
		err = fmt.Errorf("aliases changed, the old ones stay in force: %w", err)
	case lame != nil:
		err = fmt.Errorf("%s includes files with faults; mail to those aliases goes where it went before, or waits: %w", f.path, lame)
	}
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if fault != "" && fault != f.fault {
		f.report(err)
	}
	f.fault = fault
}

// recheck has the next lookup look at the file.
func (f *aliasFile) recheck() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = time.Time{}
}

// load reads the file, and what it includes, and puts it in force if it is good; lame is what is wrong with included files.
// Good or bad, it is not read again until one of them changes.
func (f *aliasFile) load() (lame, err error) {
	f.info, f.included, f.absent = nil, map[string]os.FileInfo{}, map[string]bool{}
	b, info, err := conffile.Read(f.path, maxAliasFile)
	if err != nil {
		return nil, err
	}
	f.info = f.old(info)
	lists, faults := map[string][]mta.Address{}, map[string]error{}
	t, err := parseAliases(f.path, b, func(path string) ([]mta.Address, error) {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf(":include:%s: want a path from / on", path)
		}
		if _, again := f.included[path]; !again && len(f.included) == maxIncludes {
			return nil, fmt.Errorf("more than %d included files", maxIncludes)
		}
		list, err := f.include(path)
		if err != nil {
			faults[path] = err
			if list = f.lists[path]; list == nil {
				return []mta.Address{faulty(err)}, nil
			}
		}
		lists[path] = list
		return list, nil
	})
	if err != nil {
		return nil, err
	}
	f.lists = lists
	f.table.Store(&t)
	for _, path := range slices.Sorted(maps.Keys(faults)) {
		lame = errors.Join(lame, faults[path])
	}
	return lame, nil
}

// faulty stands among the targets of an alias for a file that cannot be included.
func faulty(err error) mta.Address { return mta.Address{Local: err.Error(), Domain: faultDomain} }

// faultDomain is no domain's name.
const faultDomain = "!"

// maxIncludes bounds the files that one aliases file includes.
const maxIncludes = 1000

// include reads an included file. It is looked at for changes as the file itself is.
func (f *aliasFile) include(path string) ([]mta.Address, error) {
	b, info, err := conffile.Read(path, maxAliasFile)
	f.included[path], f.absent[path] = f.old(info), errors.Is(err, fs.ErrNotExist)
	if err != nil {
		return nil, err
	}
	return parseInclude(path, b)
}

// old returns what is known of a file, nil where its last change is so recent that another one may look like it.
func (f *aliasFile) old(info os.FileInfo) os.FileInfo {
	if info == nil || f.now().Sub(info.ModTime()) < settled {
		return nil
	}
	return info
}

// changed says whether the file, or one that it includes, may be another than the one that was read.
func (f *aliasFile) changed() (bool, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return false, err
	}
	if !same(info, f.info) {
		return true, nil
	}
	for path, before := range f.included {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && f.absent[path] {
			continue
		}
		if err != nil || !same(info, before) {
			return true, nil
		}
	}
	return false, nil
}

// beingWritten says whether somebody may be writing to one of the files. Of one that was put into its place by a rename, as a
// whole, the inode has changed after the content.
func (f *aliasFile) beingWritten() bool {
	paths := append(slices.Collect(maps.Keys(f.included)), f.path)
	return slices.ContainsFunc(paths, func(path string) bool {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		age := f.now().Sub(info.ModTime())
		return ok && st.Mtim == st.Ctim && age >= 0 && age < settled
	})
}

func same(a, b os.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
