package route

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
)

const (
	// checkEvery is how often a file is looked at, at most.
	checkEvery = time.Second
	// settled is how old a change must be for two changes within one tick of the filesystem's clock not to look alike.
	settled = 2 * time.Second
)

// aliasFile is a table that follows its file. A change for the worse leaves the old table in force.
type aliasFile struct {
	path   string
	now    func() time.Time
	report func(error)
	table  atomic.Pointer[aliasTable]

	mu    sync.Mutex // guards what follows
	info  os.FileInfo
	next  time.Time
	fault string // what was reported last
}

func openAliases(path string, now func() time.Time, report func(error)) (*aliasFile, error) {
	f := &aliasFile{path: path, now: now, report: report}
	if err := f.load(); err != nil {
		return nil, err
	}
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
	info, err := os.Stat(f.path)
	if err == nil && f.info != nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime()) {
		return
	}
	if err == nil {
		err = f.load()
	}
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if fault != "" && fault != f.fault {
		f.report(fmt.Errorf("aliases changed, the old ones stay in force: %w", err))
	}
	f.fault = fault
}

// load reads the file and puts it in force if it is good. Good or bad, it is not read again until it changes.
func (f *aliasFile) load() error {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would make us wait
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", f.path)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxAliasFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxAliasFile {
		return errors.New(f.path + ": larger than 16 MB")
	}
	if f.info = info; f.now().Sub(info.ModTime()) < settled {
		f.info = nil
	}
	t, err := parseAliases(f.path, b)
	if err != nil {
		return err
	}
	f.table.Store(&t)
	return nil
}
