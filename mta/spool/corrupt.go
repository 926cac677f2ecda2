package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// keepCorrupt writes octets to corrupt/name and says whether they last there. A second time it does nothing: after each
// start the same damage is found.
func (s *Store) keepCorrupt(name string, b []byte) bool {
	path := s.l.file(dirCorrupt, name)
	f, err := s.fs.Create(path, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if st, err := s.fs.Stat(path); err == nil && st.Size() == int64(len(b)) {
			return true
		}
		f, err = s.fs.OpenWrite(path) // the disk was full, or a crash came between
	}
	if err == nil {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Sync(), f.Close(), s.fs.SyncDir(s.l.dir(dirCorrupt)))
	}
	if err != nil {
		s.o.Log.SpoolError("save to corrupt/", err)
	}
	return err == nil
}

// saveCorrupt keeps a record that does not parse, and says so; false: it has no copy.
func (s *Store) saveCorrupt(name string, b []byte, cause error) bool {
	kept := s.keepCorrupt(name, b)
	s.o.Log.SpoolCorrupt(name, s.l.file(dirCorrupt, name), cause)
	return kept
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

// saveDamage copies the octets of a segment from offset from to resume into corrupt/; the bad ones among them begin at
// r.off. False: they have no copy, and the segment must stay.
func (s *Store) saveDamage(dir, name string, r *segmentReader, from, resume int64) bool {
	n := resume - from
	b := make([]byte, min(n, maxPayload))
	if _, err := r.f.ReadAt(b, from); err != nil {
		s.o.Log.SpoolError("read damaged octets of "+name, err)
	}
	saved := fmt.Sprintf("%s.%d", name, r.off)
	kept := s.keepCorrupt(saved, b)
	s.o.Log.SpoolDamaged(s.l.file(dir, name), from, n, s.l.file(dirCorrupt, saved))
	return kept
}
