package spool

import (
	"slices"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// journal is queue-runner's own record of results. Store.mu guards it.
type journal struct {
	fs  durable.FS
	l   layout
	who identity
	now func() time.Time

	cur      *segment
	covered  int64           // of cur: up to here a sync has covered it, and no commit record says so yet
	unsynced []journalRecord // since the last good sync, in order; kept so that a new segment can have them
	written  int             // how many of these stand in cur
	segs     []*journalSeg   // oldest first; the last is cur's, if there is a cur
}

type journalRecord struct {
	kind    kind
	payload []byte
	ref     journalRef
}

// journalRef says what a record is about; by it a checkpoint judges whether the record is still needed.
type journalRef struct {
	id   mta.ID
	kind kind
}

type journalSeg struct {
	name   string
	refs   []journalRef
	synced int  // so many of refs lasted when it was last synced
	failed bool // given up: the other refs stand in a later segment too
}

// add notes a record and tries to write it at once: a process that dies has written it, a machine that dies may not.
// A record that cannot be written stays in memory and is tried again with the next; write's error says so.
func (j *journal) add(k kind, id mta.ID, payload []byte) {
	j.unsynced = append(j.unsynced, journalRecord{k, payload, journalRef{id, k}})
	_ = j.write()
}

// write brings the records that are not in a segment yet into the current one, or into a new one when that is broken.
func (j *journal) write() error {
	for try := 0; ; try++ {
		err := j.writeOnce()
		if err == nil || j.cur != nil && j.cur.broken == nil || try == 1 {
			return err
		}
		j.leave()
	}
}

func (j *journal) writeOnce() error {
	for j.written < len(j.unsynced) {
		if err := j.open(); err != nil {
			return err
		}
		if j.covered > 0 {
			// So that a hole in what a power loss left can be told from damage.
			if err := j.cur.commit(j.covered); err != nil {
				return err
			}
			j.covered = 0
		}
		rec := j.unsynced[j.written]
		if _, err := j.cur.append(rec.kind, rec.payload); err != nil {
			return err
		}
		seg := j.segs[len(j.segs)-1]
		seg.refs = append(seg.refs, rec.ref)
		j.written++
	}
	j.dropFailed()
	return nil
}

// dropFailed removes the segments that were given up before anything in them lasted: a disk that goes on failing must not
// fill with them. What they held is written again by now.
func (j *journal) dropFailed() {
	j.segs = slices.DeleteFunc(j.segs, func(seg *journalSeg) bool {
		return seg.failed && seg.synced == 0 && j.fs.Remove(j.l.file(dirJournal, seg.name)) == nil
	})
}

func (j *journal) open() error {
	if j.cur != nil {
		return nil
	}
	g, err := newSegment(j.fs, j.l, j.who, j.now())
	if err != nil {
		return err
	}
	if err := g.publish(dirJournal, j.now()); err != nil {
		return err
	}
	j.cur, j.covered = g, 0
	j.segs = append(j.segs, &journalSeg{name: g.name})
	return nil
}

// leave gives the current segment up after an error: all that is not known to be synced goes to a new one.
func (j *journal) leave() {
	if j.cur != nil {
		j.cur.abandon()
		j.segs[len(j.segs)-1].failed = true
	}
	j.cur, j.written, j.covered = nil, 0, 0
}

// synced drops the first n unsynced records: a sync has covered them, and cur up to offset covered.
func (j *journal) synced(n int, covered int64) {
	j.covered = covered
	j.unsynced = j.unsynced[n:]
	j.written -= n
	seg := j.segs[len(j.segs)-1]
	seg.synced = len(seg.refs) - j.written
	if len(j.unsynced) == 0 {
		j.unsynced = nil
	}
}

// rotate closes the current segment, if it holds a record. Records in it that no sync has covered yet go into the next
// one too.
func (j *journal) rotate() {
	if j.cur != nil && len(j.segs[len(j.segs)-1].refs) > 0 {
		j.cur.close()
		j.cur, j.written, j.covered = nil, 0, 0
	}
}

// mentions says whether a record about id is in any segment.
func (j *journal) mentions(id mta.ID) bool {
	for _, s := range j.segs {
		for _, r := range s.refs {
			if r.id == id {
				return true
			}
		}
	}
	return false
}
