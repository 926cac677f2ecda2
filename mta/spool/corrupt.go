package spool

import (
	"errors"
	"io/fs"
)

// keepCorrupt writes octets to corrupt/name. A second time it does nothing: after each start the same damage is found.
func (s *Store) keepCorrupt(name string, b []byte) {
	f, err := s.fs.Create(s.l.file(dirCorrupt, name), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return
	}
	if err == nil {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Sync(), f.Close(), s.fs.SyncDir(s.l.dir(dirCorrupt)))
	}
	if err != nil {
		s.o.Log.SpoolError("save to corrupt/", err)
	}
}

func (s *Store) saveCorrupt(name string, b []byte, cause error) {
	s.keepCorrupt(name, b)
	s.o.Log.SpoolCorrupt(name, s.l.file(dirCorrupt, name), cause)
}

// moveCorrupt moves a whole file to corrupt/.
func (s *Store) moveCorrupt(path, name string, cause error) {
	to := s.l.file(dirCorrupt, name)
	if err := s.fs.Rename(path, to); err != nil {
		s.o.Log.SpoolSkipped(path, errors.Join(cause, err))
		return
	}
	if err := s.fs.SyncDir(s.l.dir(dirCorrupt)); err != nil {
		s.o.Log.SpoolError("sync corrupt/", err)
	}
	s.o.Log.SpoolCorrupt(path, to, cause)
}
