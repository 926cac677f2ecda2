package spool

import (
	"errors"
	"io/fs"

	"github.com/posthouse-mail/posthouse/mta"
)

// Spill moves a message that has to wait out of its segment: into deferred/ab/ID, with what is known of its recipients
// in ID.log. No sync is needed: its record in the segment counts until a checkpoint has synced the filesystem. After an
// error the message simply stays in its segment.
func (s *Store) Spill(m *Message) error {
	s.mu.Lock()
	idle := m.spilled || m.finished || m.settled()
	if !idle {
		m.cached = nil // it has not the envelope's octets
	}
	s.mu.Unlock()
	if idle {
		return nil
	}
	_, rec, err := s.locate(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.files = true
	if err := s.writeDeferred(m, rec, false); err != nil {
		return err
	}
	if err := s.writeLog(m, false); err != nil {
		return err
	}
	m.spilled = true
	s.touched[m] = true
	if m.seg != nil {
		m.seg.live--
	}
	return nil
}

// writeDeferred writes deferred/ab/ID. The envelope stays as its writer, which may know more fields, has put it.
func (s *Store) writeDeferred(m *Message, rec messageRecord, sync bool) error {
	tmp := s.l.tmp(string(m.id))
	if err := s.writeTmp(tmp, encodeDeferred(rec.envelope, rec), sync); err != nil {
		return err
	}
	return s.intoShard(m.id, tmp, s.l.deferred(m.id))
}

// writeLog writes ID.log whole.
func (s *Store) writeLog(m *Message, sync bool) error {
	tmp := s.l.tmp(string(m.id) + logSuffix)
	b := logBytes(m)
	if err := s.writeTmp(tmp, b, sync); err != nil {
		return err
	}
	if err := s.intoShard(m.id, tmp, s.l.deferredLog(m.id)); err != nil {
		return err
	}
	m.logSize, m.logBehind = int64(len(b)), false
	return nil
}

// intoShard renames a file into the message's folder of deferred/, which is made when it is missing.
func (s *Store) intoShard(id mta.ID, from, to string) error {
	err := s.fs.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.fs.Mkdir(s.l.shard(id), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = s.fs.Rename(from, to)
	}
	return err
}

// maxLog is the size past which an ID.log is rewritten with the last result of each recipient only.
func maxLog(m *Message) int64 { return 64<<10 + 1024*int64(len(m.rcpts)) }

// mend writes anew what the disk may not have: files that were in the cache when a sync of the filesystem failed, and
// logs that lack a line or have grown too long. New files are synced one by one, for a rewritten log replaces one
// whose content was already durable.
func (s *Store) mend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.suspect {
		if err := s.rewrite(m); err != nil {
			return err
		}
		delete(s.suspect, m)
		s.touched[m] = true
	}
	for m := range s.touched {
		if m.spilled && !m.finished && (m.logBehind || m.logSize > maxLog(m)) {
			if err := s.writeLog(m, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) rewrite(m *Message) error {
	if !m.spilled || m.finished {
		return nil
	}
	_, rec, err := s.locateAny(m)
	if err != nil {
		return err
	}
	if err := s.writeDeferred(m, rec, true); err != nil {
		return err
	}
	return s.writeLog(m, true)
}

// locateAny reads a spilled message for rewriting: from its segment while that is there, else from its own file.
func (s *Store) locateAny(m *Message) (*mta.Envelope, messageRecord, error) {
	if m.seg != nil {
		return s.readPlace(m.seg, m.off)
	}
	f, err := s.fs.Open(s.l.deferred(m.id))
	if err != nil {
		return nil, messageRecord{}, err
	}
	defer f.Close()
	return readDeferred(f)
}
