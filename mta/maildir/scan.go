package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// maxMessages bounds a snapshot; the messages beyond it show once others are gone.
const maxMessages = 1 << 20

// errFull ends the listing of a folder once a snapshot has maxMessages.
var errFull = errors.New("as many messages as a snapshot may have")

// scan takes the snapshot: the messages in the order of their arrival. What the cache knows of is neither opened nor
// asked for its size, and where neither folder has changed since the cache was written, not even listed.
func (m *Maildrop) scan(ctx context.Context, now time.Time) error {
	old := loadCache(m.dir)
	if old == nil {
		old = &cache{}
	}
	before, err := m.stamps()
	if err != nil {
		return err
	}
	if old.settled && old.stamps == before && !m.shared {
		m.list, m.stamp, m.settled, m.clean = old.list, before, true, true
		return nil
	}
	if err := m.moveNew(ctx); err != nil {
		return err
	}
	if m.stamp, err = m.stamps(); err != nil {
		return err
	}
	m.settled = m.stamp.settled(now)
	var unknown []entry
	if unknown, err = m.collect(ctx, &old.list); err != nil {
		return err
	}
	known := len(m.all)
	unknown, err = m.inspect(ctx, unknown)
	m.merge(unknown)
	m.settled = m.settled && err == nil && m.unreadable.messages == 0
	m.clean = m.settled && old.settled && old.stamps == m.stamp && len(unknown) == 0 && known == len(old.all)
	return err
}

// moveNew moves what is in new/ to cur/, as every reader of a Maildir does: it is not new any more. What cannot be moved
// stays, and is shown all the same. An unfinished delivery stays too.
func (m *Maildrop) moveNew(ctx context.Context) error {
	var names []string
	err := m.newDir.each(func(d dirent) error {
		if len(names) < maxMessages && d.mayBeFile() {
			names = append(names, string(d.name))
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("read mailbox: %w", err)
	}
	for _, name := range names {
		n, ok := ParseName(name)
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.Size >= 0 && ours(n.Unique) {
			if st, err := m.newDir.statFile(name); err != nil || unfinished(n, &st, m.now) {
				continue
			}
		}
		to := name
		if bytes.IndexByte([]byte(name), ':') < 0 {
			to += ":2,"
		}
		_ = m.newDir.rename(name, m.curDir, to) // another program was faster, or we may only read: it is listed where it is
	}
	return nil
}

// collect lists both folders: what the cache has goes into the snapshot, the rest is returned. It reads new/ before cur/,
// so that a message which another program moves meanwhile is seen at least once.
func (m *Maildrop) collect(ctx context.Context, old *list) (unknown []entry, err error) {
	known := newFullIndex(old)
	at := make([]int32, len(old.all)) // where in found an entry of the cache is, plus one
	var found []entry
	for _, f := range []*folder{m.newDir, m.curDir} {
		err := f.each(func(d dirent) error {
			unique := uniqueLen(d.name)
			if unique == 0 || len(d.name) > 255 || !d.mayBeFile() {
				return nil
			}
			if len(found)+len(unknown) == maxMessages {
				return errFull
			}
			e := entry{ino: d.ino, name: uint32(len(m.names)), length: uint8(len(d.name)), unique: uint8(unique)}
			if f == m.newDir {
				e.state = inNew
			}
			m.names = append(m.names, d.name...)
			hit := false
			known.each(d.name[:unique], func(i int) bool {
				k := &old.all[i]
				if hit = k.ino == d.ino && at[i] == 0; hit {
					e.size, e.wire, e.mtime, e.time, e.state = k.size, k.wire, k.mtime, k.time, e.state|k.state&(measured|twin)
					found = append(found, e)
					at[i] = int32(len(found))
				}
				return !hit
			})
			if !hit {
				unknown = append(unknown, e)
			}
			return ctx.Err()
		})
		if err != nil && !errors.Is(err, errFull) {
			return nil, fmt.Errorf("read mailbox: %w", err)
		}
	}
	// The cache is in the snapshot's order.
	m.all = make([]entry, 0, len(found)+len(unknown))
	for _, i := range at {
		if i > 0 {
			m.all = append(m.all, found[i-1])
		}
	}
	return unknown, nil
}

// merge puts further messages into the snapshot: in order, those seen twice once, and different messages with one unique
// part marked.
func (m *Maildrop) merge(more []entry) {
	if len(more) == 0 {
		return
	}
	seen := newIndex(&list{m.names, nil}, len(m.all)+len(more))
	seen.l.all = append(append(make([]entry, 0, len(m.all)+len(more)), m.all...), more...)
	all, drop := seen.l.all, make([]bool, len(m.all)+len(more))
	for i := range all {
		seen.each(seen.l.unique(&all[i]), func(j int) bool {
			if all[j].ino == all[i].ino { // it moved while we looked; the later name is the true one
				all[j].state, all[j].name, all[j].length = all[i].state, all[i].name, all[i].length
				drop[i] = true
				return false
			}
			all[i].state |= twin
			all[j].state |= twin
			return true
		})
		if !drop[i] {
			seen.add(i)
		}
	}
	had, fresh := len(m.all), more[:0]
	m.all = all[:0]
	for i := range all {
		switch {
		case drop[i]:
		case i < had:
			m.all = append(m.all, all[i])
		default:
			fresh = append(fresh, all[i])
		}
	}
	m.interleave(fresh)
}

// interleave puts entries that are in no order among those that are.
func (m *Maildrop) interleave(fresh []entry) {
	m.sort(fresh)
	old := append([]entry(nil), m.all...)
	m.all = m.all[:0]
	for len(old) > 0 && len(fresh) > 0 {
		if m.compare(&old[0], &fresh[0]) <= 0 {
			m.all, old = append(m.all, old[0]), old[1:]
		} else {
			m.all, fresh = append(m.all, fresh[0]), fresh[1:]
		}
	}
	m.all = append(append(m.all, old...), fresh...)
}

// uniqueLen returns the length of a file name's unique part; 0 for what is no message's name.
func uniqueLen(file []byte) int {
	if len(file) == 0 || file[0] == '.' {
		return 0
	}
	end := len(file)
	if i := bytes.IndexByte(file, ':'); i >= 0 {
		end = i
	}
	if i := bytes.IndexByte(file[:end], ','); i >= 0 {
		end = i
	}
	return end
}
