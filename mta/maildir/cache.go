package maildir

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CacheFile is the name, in the Maildir, of the file in which a session leaves the snapshot to the next one: names, sizes,
// and how the folders looked. It saves reading each message whose name does not give its size on the wire. It may be
// removed at any time. It is believed of a file that has the same name and the same inode, and of sizes until the file is
// opened; then the file decides.
const CacheFile = "posthouse-pop3.cache"

// The file: cacheMagic, a header, the entries in the order of the snapshot, their names, and a CRC-32C of all before it.
// All numbers are little endian.
const (
	cacheMagic  = "Posthouse POP3 1\n\x00\x00\x00"
	cacheHeader = len(cacheMagic) + 2*3*8 + 8 + 4 + 4
	cacheEntry  = 5*8 + 4
	maxCache    = maxMessages*(cacheEntry+256) + 1<<10
	// cacheWorth is how many messages make a cache worthwhile where all names give all sizes.
	cacheWorth = 256
)

// cache is what the file holds.
type cache struct {
	list
	stamps  stamps
	settled bool
}

// stamps tell whether a folder has changed. ctime is what no program can set back.
type stamps [2]stamp

type stamp struct {
	ino          uint64
	mtime, ctime int64 // nanoseconds
}

// settleTime is how old a folder's last change must be for a later one to be sure to have another time: filesystems keep
// times as coarse as two seconds.
const settleTime = 2 * time.Second

func (s stamps) settled(now time.Time) bool {
	return now.UnixNano()-max(s[0].ctime, s[1].ctime, s[0].mtime, s[1].mtime) > int64(settleTime)
}

func (m *Maildrop) stamps() (s stamps, err error) {
	for i, f := range []*folder{m.newDir, m.curDir} {
		st, err := f.stat()
		if err != nil {
			return s, err
		}
		s[i] = stamp{st.Ino, unix.TimespecToNsec(st.Mtim), unix.TimespecToNsec(st.Ctim)}
	}
	return s, nil
}

// loadCache reads the cache; nil where there is none, or it has a fault.
func loadCache(dir string) *cache {
	f, err := os.OpenFile(dir+"/"+CacheFile, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxCache {
		return nil
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil
	}
	return decodeCache(b)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decodeCache takes a cache apart; nil where anything in it cannot be.
func decodeCache(b []byte) *cache {
	le := binary.LittleEndian
	if len(b) < cacheHeader+4 || string(b[:len(cacheMagic)]) != cacheMagic {
		return nil
	}
	b, sum := b[:len(b)-4], le.Uint32(b[len(b)-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil
	}
	c, at := &cache{}, len(cacheMagic)
	for i := range c.stamps {
		c.stamps[i] = stamp{le.Uint64(b[at:]), int64(le.Uint64(b[at+8:])), int64(le.Uint64(b[at+16:]))}
		at += 24
	}
	c.settled = b[at] == 1
	count, names := int(le.Uint32(b[at+8:])), int(le.Uint32(b[at+12:]))
	at += 16
	if count > maxMessages || len(b) != at+count*cacheEntry+names {
		return nil
	}
	c.all, c.names = make([]entry, count), b[at+count*cacheEntry:]
	offset := 0
	for i := range c.all {
		r := b[at+i*cacheEntry:]
		e := &c.all[i]
		e.ino, e.size, e.wire, e.mtime = le.Uint64(r), int64(le.Uint64(r[8:])), int64(le.Uint64(r[16:])), int64(le.Uint64(r[24:]))
		e.time = int64(le.Uint64(r[32:]))
		e.length, e.unique, e.state = r[40], r[41], r[42]
		e.name = uint32(offset)
		if offset += int(e.length); offset > names || !c.plausible(e) {
			return nil
		}
	}
	if offset != names {
		return nil
	}
	return c
}

// plausible says whether an entry can be one of a Maildir. A name that leads elsewhere never becomes a path.
func (c *cache) plausible(e *entry) bool {
	file := c.file(e)
	return uniqueLen(file) == int(e.unique) && e.unique > 0 && bytes.IndexByte(file, '/') < 0 && bytes.IndexByte(file, 0) < 0 &&
		e.size >= 0 && e.wire >= e.size && e.wire <= 2*e.size+2 && e.state&^kept == 0
}

// encode is the other way of decodeCache.
func (c *cache) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, cacheHeader+len(c.all)*(cacheEntry+64))
	b = append(b, cacheMagic...)
	for _, s := range c.stamps {
		b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, s.ino), uint64(s.mtime)), uint64(s.ctime))
	}
	var settled uint64
	if c.settled {
		settled = 1
	}
	names := 0
	for i := range c.all {
		names += int(c.all[i].length)
	}
	b = le.AppendUint64(b, settled)
	b = le.AppendUint32(le.AppendUint32(b, uint32(len(c.all))), uint32(names))
	for i := range c.all {
		e := &c.all[i]
		b = le.AppendUint64(le.AppendUint64(le.AppendUint64(le.AppendUint64(b, e.ino), uint64(e.size)), uint64(e.wire)), uint64(e.mtime))
		b = append(le.AppendUint64(b, uint64(e.time)), e.length, e.unique, e.state&kept, 0)
	}
	for i := range c.all {
		b = append(b, c.file(&c.all[i])...)
	}
	return seal(b)
}

// seal appends the checksum.
func seal(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)) }

// saveCache leaves the snapshot to the next session, where that is worth a file. Failures are nobody's loss.
func (m *Maildrop) saveCache() {
	if m.clean {
		return
	}
	c := &cache{list: list{names: m.names, all: make([]entry, 0, len(m.all))}, stamps: m.stamp, settled: m.settled}
	reads := false
	for i := range m.all {
		if e := &m.all[i]; !e.is(gone) && !e.is(wrong) {
			c.all = append(c.all, *e)
			reads = reads || e.is(measured)
		}
	}
	if len(c.all) == 0 || !reads && len(c.all) < cacheWorth {
		_ = os.Remove(m.path(CacheFile))
		return
	}
	_ = replaceFile(m.path(CacheFile), c.encode())
}

// keepProgress saves what a listing that has failed came to: the next attempt begins there.
func (m *Maildrop) keepProgress() {
	m.changed()
	if len(m.all) > 0 {
		m.saveCache()
	}
}

// replaceFile puts a new file in the place of an old one. Who holds the session's lock does so alone.
func replaceFile(path string, b []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

func fileInode(st fs.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}
