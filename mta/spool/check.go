package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// CheckReport is what Check saw.
type CheckReport struct {
	Lines    []string // what is there, a line each
	Problems []string // what should not be so, a line each
}

// Check reads the whole spool and reports any inconsistency; it changes nothing and takes no lock, so it may run beside
// the daemons: what goes away while it looks is no problem. An error means that it could not look.
func Check(fsys durable.FS, root string) (*CheckReport, error) {
	c := &checker{fs: fsys, l: layout{root}, large: map[mta.ID]bool{}}
	for _, step := range []func() error{c.version, c.incoming, c.deferredFiles, c.journalFiles, c.largeFiles, c.leftovers} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &c.r, nil
}

type checker struct {
	fs    durable.FS
	l     layout
	r     CheckReport
	large map[mta.ID]bool // named by a record or a deferred file
}

func (c *checker) say(format string, a ...any) {
	c.r.Lines = append(c.r.Lines, fmt.Sprintf(format, a...))
}
func (c *checker) problem(format string, a ...any) {
	c.r.Problems = append(c.r.Problems, fmt.Sprintf(format, a...))
}

// names lists a folder in order.
func (c *checker) names(dir string) ([]string, error) {
	names, err := c.fs.ReadDir(c.l.dir(dir))
	slices.Sort(names)
	return names, err
}

// version is what the lock says of the spool as a whole.
func (c *checker) version() error {
	path := c.l.dir(nameLock)
	f, err := c.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := checkFloor(f); err != nil {
		c.problem("%s: %v", path, err)
	}
	return nil
}

func (c *checker) incoming() error {
	names, err := c.names(dirIncoming)
	if err != nil {
		return err
	}
	n, committed, open := 0, 0, 0
	for _, name := range names {
		if _, ok := segmentName(name); !ok {
			c.problem("%s: not a name of the spool's", c.l.file(dirIncoming, name))
			continue
		}
		n++
		a, b := c.segment(c.l.file(dirIncoming, name))
		committed, open = committed+a, open+b
	}
	c.say("incoming: %d segments with %d committed messages, %d not committed", n, committed, open)
	return nil
}

// segment reads one segment of messages.
func (c *checker) segment(path string) (committed, open int) {
	r, err := openSegment(c.fs, path)
	if err != nil {
		c.fileError(path, err)
		return 0, 0
	}
	defer r.f.Close()
	var pending []int64
	for {
		k, b, off, err := r.next()
		if errors.Is(err, errBadRecord) {
			if resume, damaged, err := r.damaged(); err == nil && damaged {
				c.problem("%s: %d octets at %d are damaged", path, resume-r.off, r.off)
				r.off = resume
				continue
			}
			if c.rotten(path, r) {
				continue
			}
			return committed, len(pending)
		}
		if err != nil {
			c.problem("%s: %v", path, err)
			return committed, len(pending)
		}
		switch k {
		case kindMessage:
			pending = append(pending, off)
			c.message(fmt.Sprintf("%s at %d", path, off), b)
		case kindCommit:
			covered := commitOffset(b)
			left := slices.DeleteFunc(pending, func(at int64) bool { return at < covered })
			committed += len(pending) - len(left)
			pending = left
		case kindClose:
			return committed, len(pending)
		}
	}
}

// rotten reports a record that has changed since it was written, though nothing behind it proves that it was, and steps behind it.
func (c *checker) rotten(path string, r *segmentReader) bool {
	what, end, err := r.remains(true)
	if err != nil || what != rotten {
		return false
	}
	if resume, ok, err := r.resume(); err == nil && ok {
		end = resume
	}
	c.problem("%s: %d octets at %d are damaged", path, end-r.off, r.off)
	r.off = end
	return true
}

func (c *checker) message(where string, b []byte) {
	rec, err := parseMessage(b)
	if err != nil {
		c.problem("%s: %v", where, err)
		return
	}
	env := new(mta.Envelope)
	if err := json.Unmarshal(rec.envelope, env); err != nil {
		c.problem("%s: envelope: %v", where, err)
		return
	}
	if rec.large {
		c.largeRef(where, env.ID, rec)
	}
}

// largeRef checks a reference to large/ID. A missing file is no problem by itself: the message may be finished.
func (c *checker) largeRef(where string, id mta.ID, rec messageRecord) {
	c.large[id] = true
	f, err := c.fs.Open(c.l.large(id))
	if err != nil {
		c.fileError(c.l.large(id), err)
		return
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	if n, err := io.Copy(sum, io.NewSectionReader(f, 0, rec.size)); err != nil || n != rec.size || sum.Sum32() != rec.sum {
		c.problem("%s: %s is not what was accepted (%d of %d octets read)", where, c.l.large(id), n, rec.size)
	}
}

func (c *checker) deferredFiles() error {
	shards, err := c.names(dirDeferred)
	if err != nil {
		return err
	}
	n := 0
	for _, shard := range shards {
		names, err := c.names(dirDeferred + "/" + shard)
		if err != nil {
			c.fileError(c.l.file(dirDeferred, shard), err)
			continue
		}
		for _, name := range names {
			id, isLog, ok := deferredName(shard, name)
			switch {
			case !ok:
				c.problem("%s: not a name of the spool's", c.l.file(dirDeferred, shard)+"/"+name)
			case isLog:
				c.log(id, slices.Contains(names, string(id)))
			default:
				n++
				c.deferredFile(id)
			}
		}
	}
	c.say("deferred: %d messages", n)
	return nil
}

func (c *checker) deferredFile(id mta.ID) {
	path := c.l.deferred(id)
	f, err := c.fs.Open(path)
	if err != nil {
		c.fileError(path, err)
		return
	}
	defer f.Close()
	env, rec, err := readDeferred(f)
	if err != nil {
		c.problem("%s: %v", path, err)
		return
	}
	if env.ID != id {
		c.problem("%s: holds message %s", path, env.ID)
	}
	if rec.large {
		c.largeRef(path, id, rec)
	}
}

func (c *checker) log(id mta.ID, message bool) {
	path := c.l.deferredLog(id)
	if !message {
		if _, err := c.fs.Stat(path); err == nil {
			c.problem("%s: no message beside it", path)
		}
		return
	}
	f, err := c.fs.Open(path)
	if err != nil {
		c.fileError(path, err)
		return
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		c.problem("%s: %v", path, err)
		return
	}
	b := make([]byte, min(size, maxPayload))
	n, _ := f.ReadAt(b, 0)
	for i, line := range strings.SplitAfter(string(b[:n]), "\n") {
		if !strings.HasSuffix(line, "\n") {
			break // being written, or cut off at the next start
		}
		if e, err := parseEntry([]byte(line)); err != nil || e.ID != id {
			c.problem("%s:%d: not a result of this message", path, i+1)
		}
	}
}

func (c *checker) journalFiles() error {
	names, err := c.names(dirJournal)
	if err != nil {
		return err
	}
	n := 0
	for _, name := range names {
		path := c.l.file(dirJournal, name)
		r, err := openSegment(c.fs, path)
		if err != nil {
			c.fileError(path, err)
			continue
		}
		n += c.journalSegment(path, r)
		_ = r.f.Close()
	}
	c.say("journal: %d segments with %d records", len(names), n)
	return nil
}

func (c *checker) journalSegment(path string, r *segmentReader) (n int) {
	rec := &recovery{finished: map[mta.ID]bool{}, entries: map[mta.ID][]entry{}}
	for {
		k, b, off, err := r.next()
		if err != nil {
			if !errors.Is(err, errBadRecord) {
				c.problem("%s: %v", path, err)
				return n
			}
			resume, damaged, err := r.damaged()
			if err == nil && damaged {
				c.problem("%s: %d octets at %d are damaged", path, resume-r.off, r.off)
			} else if c.rotten(path, r) {
				continue
			} else if resume, damaged, err = r.resume(); err != nil || !damaged {
				return n
			}
			r.off = resume
			continue
		}
		if _, err := rec.note(k, b); err != nil {
			c.problem("%s at %d: %v", path, off, err)
		}
		n++
	}
}

func (c *checker) largeFiles() error {
	names, err := c.names(dirLarge)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, err := mta.ParseID(name); err != nil {
			c.problem("%s: not a name of the spool's", c.l.file(dirLarge, name))
		} else if !c.large[id] {
			c.say("large: %s belongs to no message (queue-runner removes it)", name)
		}
	}
	c.say("large: %d files", len(names))
	return nil
}

func (c *checker) leftovers() error {
	tmp, err := c.names(dirTmp)
	if err != nil {
		return err
	}
	c.say("tmp: %d files", len(tmp))
	bad, err := c.names(dirCorrupt)
	if err != nil {
		return err
	}
	for _, name := range bad {
		c.problem("%s: set aside because it was damaged; look at it, then remove it", c.l.file(dirCorrupt, name))
	}
	return nil
}

// fileError is a problem unless the file has gone meanwhile.
func (c *checker) fileError(path string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		c.problem("%s: %v", path, err)
	}
}
