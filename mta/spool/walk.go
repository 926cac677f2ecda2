package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posthouse-mail/posthouse/mta"
)

// walkDeferred reads and checks every deferred file and its ID.log.
func (s *Store) walkDeferred(c *recovery) error {
	ids, err := s.listDeferred(c)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(ids, deferredBatch) {
		for _, d := range s.readDeferredMessages(c, batch) {
			s.takeDeferred(c, d)
		}
	}
	return nil
}

// deferredBatch is how many deferred messages are read before they are taken, which bounds what start-up holds of them.
const deferredBatch = 1024

// listDeferred returns the ids that deferred files are named after, and notes the names of logs and which files to unlink.
func (s *Store) listDeferred(c *recovery) ([]mta.ID, error) {
	shards, err := s.fs.ReadDir(s.l.dir(dirDeferred))
	if err != nil {
		return nil, err
	}
	var ids []mta.ID
	for _, shard := range shards {
		names, err := s.fs.ReadDir(s.l.file(dirDeferred, shard))
		if err != nil {
			s.o.Log.SpoolSkipped(s.l.file(dirDeferred, shard), err)
			continue
		}
		for _, name := range names {
			id, isLog, ok := deferredName(shard, name)
			switch {
			case !ok:
				s.o.Log.SpoolSkipped(s.l.file(dirDeferred, shard)+"/"+name, errors.New("not a name of the spool's"))
			case isLog:
				c.logs[id] = true
			case c.finished[id]:
				c.unlink = append(c.unlink, id)
			default:
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// deferredMessage is what a deferred file and its log say.
type deferredMessage struct {
	m   *Message
	env *mta.Envelope // nil if it could not be read
	err error
}

// readDeferredMessages reads so many at once as Options.Readers allows: what takes time is the waiting for the disk, and
// the parsing.
func (s *Store) readDeferredMessages(c *recovery, ids []mta.ID) []deferredMessage {
	read := make([]deferredMessage, len(ids))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range max(s.o.Readers, 1) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				read[i] = s.readDeferredMessage(c, ids[i])
			}
		})
	}
	readers.Wait()
	return read
}

// readDeferredMessage runs beside itself: of s and c it changes nothing.
func (s *Store) readDeferredMessage(c *recovery, id mta.ID) deferredMessage {
	d := deferredMessage{m: &Message{id: id, found: true, spilled: true, files: true}}
	f, err := s.fs.Open(s.l.deferred(id))
	if err != nil {
		d.err = err
		return d
	}
	defer f.Close()
	env, rec, err := readDeferred(f)
	if err == nil && env.ID != id {
		err = fmt.Errorf("%w: it is %s", errBadDeferred, env.ID)
	}
	if err != nil {
		d.err = err
		return d
	}
	d.env, d.m.inline = env, !rec.large
	d.m.learn(env)
	if c.logs[id] {
		d.err = s.readLog(d.m)
	}
	return d
}

// takeDeferred adds what only the journal knows, and registers the message.
func (s *Store) takeDeferred(c *recovery, d deferredMessage) {
	switch {
	case errors.Is(d.err, errBadDeferred):
		c.bad[d.m.id] = d.err
		return
	case d.err != nil: // unreadable, or a newer version's: left alone, and so is its segment
		s.o.Log.SpoolSkipped(s.l.deferred(d.m.id), d.err)
		d.m.stuck = true
	default:
		for _, e := range c.entries[d.m.id] {
			if d.m.apply(e, &s.said) {
				s.appendLog(d.m, e.bytes())
			}
		}
		if d.m.logBehind {
			s.touched[d.m] = true
		}
		c.remember(d.env)
	}
	c.deferred++
	s.register(d.m)
}

// readLog applies ID.log and cuts its torn end off.
func (s *Store) readLog(m *Message) error {
	f, err := s.fs.OpenWrite(s.l.deferredLog(m.id))
	if err != nil {
		return err
	}
	err = s.applyLog(m, f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s *Store) applyLog(m *Message, f interface {
	io.ReaderAt
	Size() (int64, error)
	Truncate(int64) error
}) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, maxPayload))
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	good, at := 0, 0
	for {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			break
		}
		e, err := parseEntry(b[at : at+n])
		if err == nil && e.ID == m.id {
			if at > good {
				s.saveLogDamage(m, b, good, at)
			}
			m.apply(e, &s.said)
			good = at + n + 1
		}
		at += n + 1
	}
	// What is left has no good line behind it: it is torn, and the journal has what it said.
	m.logSize = int64(good)
	if m.logSize < size {
		return f.Truncate(m.logSize)
	}
	return nil
}

// saveLogDamage copies what stands between good lines into corrupt/: nobody else may have what it said. Zeros are what a loss of power
// has left there before a sync; those the journal has. What stands behind is true all the same, and a checkpoint writes the log anew.
func (s *Store) saveLogDamage(m *Message, b []byte, from, to int) {
	m.logBehind = true
	if bytes.IndexByte(b[from:to], 0) >= 0 {
		return
	}
	saved := fmt.Sprintf("%s%s.%d", m.id, logSuffix, from)
	s.keepCorrupt(saved, b[from:to])
	s.o.Log.SpoolDamaged(s.l.deferredLog(m.id), int64(from), int64(to-from), s.l.file(dirCorrupt, saved))
}
