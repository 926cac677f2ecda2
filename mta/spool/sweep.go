package spool

import (
	"errors"
	"io/fs"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

const (
	// TmpAge is the age from which a file in tmp/ that nobody has locked is removed. It must be more than any session
	// takes: the bound of SMTPD.SessionTimeout in mta/config is below it.
	TmpAge = 36 * time.Hour
	// sweepEvery is how often tmp/ and large/ are looked through.
	sweepEvery = 10 * time.Minute
)

// sweep removes, every sweepEvery, what belongs to no message.
func (s *Store) sweep() {
	now := s.o.Now()
	s.mu.Lock()
	due := s.sweepDue()
	if due {
		s.swept = now
	}
	s.mu.Unlock()
	if !due {
		return
	}
	if err := errors.Join(s.sweepTmp(now), s.sweepLarge()); err != nil {
		s.o.Log.SpoolError("sweep", err)
	}
}

func (s *Store) sweepDue() bool { return s.o.Now().Sub(s.swept) >= sweepEvery }

func (s *Store) sweepTmp(now time.Time) error {
	names, err := s.fs.ReadDir(s.l.dir(dirTmp))
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.l.tmp(name)
		st, err := s.fs.Stat(path)
		if err != nil || now.Sub(st.ModTime()) < TmpAge || !st.Mode().IsRegular() {
			continue // gone, young, or nothing of ours
		}
		if err := s.removeUnlocked(path); err != nil {
			return err
		}
	}
	return nil
}

// sweepLarge removes the files of large/ that no record names. A writer holds the lock of such a file until its
// record is there: a file that was found unlocked, and that is still unknown after all segments were read once more,
// belongs to nobody; but as long as there is something in corrupt/, that may be the record that named it.
func (s *Store) sweepLarge() error {
	names, err := s.fs.ReadDir(s.l.dir(dirLarge))
	if err != nil || len(names) == 0 {
		return err
	}
	if kept, err := s.fs.ReadDir(s.l.dir(dirCorrupt)); err != nil || len(kept) > 0 {
		return err
	}
	for _, name := range names {
		id, err := mta.ParseID(name)
		if err != nil {
			continue
		}
		found, ok := s.orphan(id)
		if !ok {
			continue
		}
		if found < 0 {
			if free, err := s.unlocked(s.l.large(id)); err != nil {
				return err
			} else if free {
				s.mu.Lock()
				s.orphans[id] = s.polls
				s.mu.Unlock()
			}
			continue
		}
		if err := s.removeUnlocked(s.l.large(id)); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.orphans, id)
		s.mu.Unlock()
	}
	return nil
}

// orphan says whether nothing is known to need large/ID: found is -1 when that is new, 0 when it was so before the
// segments were last read to their end.
func (s *Store) orphan(id mta.ID) (found int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, gone := s.gone[id]
	needed := gone || s.msgs[id] != nil || s.strays[id] > 0 || len(s.badSegs) > 0
	for _, g := range s.segs {
		if g.keep || g.gone && !g.complete {
			needed = true
		}
		for _, x := range g.large {
			needed = needed || x == id
		}
	}
	if needed {
		delete(s.orphans, id)
		return 0, false
	}
	polls, known := s.orphans[id]
	switch {
	case !known:
		return -1, true
	case s.polls <= polls+1: // one reading may have begun before the file was found
		return 0, false
	}
	return 0, true
}

func (s *Store) unlocked(path string) (bool, error) {
	f, err := s.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, durable.ErrNoFile) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = f.Lock()
	if errors.Is(err, durable.ErrLocked) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) removeUnlocked(path string) error {
	free, err := s.unlocked(path)
	if err != nil || !free {
		return err
	}
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.o.Log.SpoolSwept(path)
	return nil
}
