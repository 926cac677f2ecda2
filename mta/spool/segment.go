package spool

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// segmentVersion is the major version of the segment format that this program writes and the newest that it reads.
const segmentVersion = 1

// Who writes a segment; the header says so.
const (
	writerSMTPD   = "smtpd"
	writerQueue   = "queue-runner"
	writerJournal = "journal"
)

// segmentHeader is the payload of the first record, JSON. The nonce of the header's own checksum is 0.
type segmentHeader struct {
	V      int    `json:"v"`
	Boot   string `json:"boot"`
	Writer string `json:"writer"`
	Run    uint64 `json:"run"` // random for each Writer: tells one's own segments from an earlier run's
	Nonce  uint64 `json:"nonce"`
}

// identity is what a process writes into the headers of its segments.
type identity struct {
	writer, boot string
	run          uint64
}

func newIdentity(writer, boot string) identity { return identity{writer, boot, random64()} }

func random64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return binary.LittleEndian.Uint64(b[:])
}

const (
	// firstRoom is what a new segment has allocated: enough to withdraw every message that was in flight.
	firstRoom = 256 << 10
	growRoom  = 4 << 20
	// tailRoom is kept free behind each record for a commit and a close record.
	tailRoom = 128
	// maxSegment is the size at which a writer goes on in a new segment.
	maxSegment = 64 << 20
)

// segment is one that this process writes. Its owner's mutex guards it.
type segment struct {
	fs     durable.FS
	l      layout
	name   string // file name
	f      durable.File
	nonce  uint64
	off    int64     // where the next record goes
	room   int64     // allocated
	born   time.Time // when it was published
	broken error     // a write failed: what stands behind the last good sync is unknown
	buf    []byte
}

// newSegment makes a segment in tmp/: created, locked, allocated, its header written, synced. publish gives it its place.
func newSegment(fsys durable.FS, l layout, who identity, now time.Time) (*segment, error) {
	name := string(mta.NewID(now)) + segSuffix
	f, err := fsys.Create(l.tmp(name), 0o640)
	if err != nil {
		return nil, err
	}
	g := &segment{fs: fsys, l: l, name: name, f: f}
	if err := g.prepare(who); err != nil {
		_ = f.Close()
		_ = fsys.Remove(l.tmp(name)) // what stays behind in tmp/ is swept later
		return nil, err
	}
	return g, nil
}

func (g *segment) prepare(who identity) error {
	if err := g.f.Lock(); err != nil {
		return err
	}
	if err := g.f.Allocate(firstRoom); err != nil {
		return err
	}
	g.room = firstRoom
	nonce := random64()
	h, err := json.Marshal(segmentHeader{segmentVersion, who.boot, who.writer, who.run, nonce})
	if err != nil {
		return err
	}
	if _, err := g.append(kindHeader, h); err != nil {
		return err
	}
	g.nonce = nonce
	return g.f.Sync()
}

// publish moves the segment to dir and makes its name last: only then may a record be appended that matters. After an
// error the segment is gone.
func (g *segment) publish(dir string, now time.Time) error {
	g.born = now
	err := g.fs.RenameNoReplace(g.l.tmp(g.name), g.l.file(dir, g.name))
	if err == nil {
		err = g.fs.SyncDir(g.l.dir(dir))
	}
	if err != nil {
		_ = g.f.Close()
		if g.fs.Remove(g.l.file(dir, g.name)) != nil {
			_ = g.fs.Remove(g.l.tmp(g.name)) // swept later where this fails too
		}
	}
	return err
}

// append writes one record. An error with broken unset left the segment as it was.
func (g *segment) append(k kind, parts ...[]byte) (off int64, err error) {
	if g.broken != nil {
		return 0, g.broken
	}
	n := int64(recordHead)
	for _, p := range parts {
		n += int64(len(p))
	}
	if n > recordHead+maxPayload {
		return 0, fmt.Errorf("record of %d octets", n)
	}
	if k != kindCommit && k != kindClose { // these two have their room reserved
		if err := g.grow(n); err != nil {
			return 0, err
		}
	}
	g.buf = appendRecord(g.buf[:0], g.nonce, g.off, k, parts...)
	if _, err := g.f.WriteAt(g.buf, g.off); err != nil {
		g.broken = err
		return 0, err
	}
	if cap(g.buf) > 4*LargeSize {
		g.buf = nil
	}
	off = g.off
	g.off += n
	return off, nil
}

// grow makes sure that a record of n octets, and the records that end a segment, have room.
func (g *segment) grow(n int64) error {
	need := g.off + n + tailRoom
	if need <= g.room {
		return nil
	}
	room := max(need, g.room+growRoom)
	if err := g.f.Allocate(room); err != nil {
		room = need // a disk that is almost full may still have this much
		if err := g.f.Allocate(room); err != nil {
			return err
		}
	}
	g.room = room
	return nil
}

// commit appends the record that says up to where a sync has covered this segment.
func (g *segment) commit(covered int64) error {
	_, err := g.append(kindCommit, binary.LittleEndian.AppendUint64(nil, uint64(covered)))
	return err
}

// close ends the segment; without its close record a reader takes it for a dead writer's, which is as good.
func (g *segment) close() {
	if g.broken == nil {
		_, _ = g.append(kindClose)
	}
	_ = g.f.Close()
}

// abandon leaves the segment as a dead writer would.
func (g *segment) abandon() { _ = g.f.Close() }
