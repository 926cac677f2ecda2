package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// Incoming is a message on its way in: its content in memory up to LargeSize, in tmp/ beyond. It belongs to one
// goroutine, which ends it with Commit or Abort.
type Incoming struct {
	w    *Writer
	id   mta.ID
	mem  []byte
	buf  []byte // what is not yet in f
	f    durable.File
	size int64
	sum  uint32
	err  error
	over bool
	held int64 // octets of mem and buf that the writer counts
}

// inMemory bounds what all messages of a writer on their way in hold in memory together; past it each keeps smallShare
// at the most, and the rest is in its file, however small the message is.
const (
	inMemory   = 64 << 20
	smallShare = 16 << 10
)

// room is how much of the message may be in memory now.
func (m *Incoming) room() int {
	if m.w.held.Load() > inMemory {
		return smallShare
	}
	return LargeSize
}

// hold counts what the message holds in memory.
func (m *Incoming) hold() {
	now := int64(cap(m.mem) + cap(m.buf))
	m.w.held.Add(now - m.held)
	m.held = now
}

// Begin starts a message under a new id. It costs nothing until Write.
func (w *Writer) Begin() *Incoming { return w.begin(mta.NewID(w.o.Now())) }

func (w *Writer) begin(id mta.ID) *Incoming { return &Incoming{w: w, id: id} }

// ID returns the message's id.
func (m *Incoming) ID() mta.ID { return m.id }

// Size returns how many octets were written.
func (m *Incoming) Size() int64 { return m.size }

// Write takes the next octets of the content, exactly as they came in (CR LF line ends, dots unstuffed). An error is
// ErrFull or ErrFailed and stays: Commit returns it too.
func (m *Incoming) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	defer m.hold()
	if m.f == nil && len(m.mem)+len(p) <= m.room() {
		m.mem = append(m.mem, p...)
		m.size += int64(len(p))
		return len(p), nil
	}
	if m.f == nil {
		if err := m.spill(); err != nil {
			return 0, m.failed(err)
		}
	}
	m.sum = crc32.Update(m.sum, castagnoli, p)
	m.size += int64(len(p))
	m.buf = append(m.buf, p...)
	if len(m.buf) >= m.room() {
		if err := m.flush(); err != nil {
			return 0, m.failed(err)
		}
	}
	return len(p), nil
}

// spill moves the content from memory to a file in tmp/, locked so that nobody sweeps it.
func (m *Incoming) spill() error {
	f, err := m.w.fs.Create(m.w.l.tmp(string(m.id)), 0o640)
	if err != nil {
		return err
	}
	m.f = f
	if err := f.Lock(); err != nil {
		return err
	}
	m.buf, m.mem = m.mem, nil
	m.sum = crc32.Update(0, castagnoli, m.buf)
	return m.flush()
}

func (m *Incoming) flush() error {
	_, err := m.f.WriteAt(m.buf, m.size-int64(len(m.buf)))
	if m.buf = m.buf[:0]; cap(m.buf) > 4*m.room() {
		m.buf = nil
	}
	return err
}

// failed refuses the message, now and at Commit.
func (m *Incoming) failed(err error) error {
	m.drop()
	m.err = refusal(err)
	return m.err
}

// Commit makes the message last under env, whose ID, V, Arrived and Size it sets, and returns nil only then: the
// message is accepted. ErrFull and ErrFailed: nothing of it will ever be delivered. ErrUnknown: nobody knows; the
// session must end without a reply. Whatever it returns, the message has ended.
func (m *Incoming) Commit(env *mta.Envelope) error {
	_, err := m.commit(env)
	return err
}

func (m *Incoming) commit(env *mta.Envelope) (place, error) {
	if m.over {
		return place{}, fmt.Errorf("%w: already ended", ErrFailed)
	}
	m.over = true
	if m.err != nil {
		return place{}, m.err
	}
	env.V, env.ID, env.Size = mta.EnvelopeVersion, m.id, m.size
	if env.Arrived.IsZero() {
		env.Arrived = m.w.o.Now().UTC().Truncate(time.Microsecond)
	}
	rec := messageRecord{content: m.mem}
	if m.f != nil {
		if err := m.keepLarge(); err != nil {
			return place{}, m.failed(err)
		}
		rec = messageRecord{large: true, size: m.size, sum: m.sum}
	}
	at, err := m.w.add(env, rec)
	if m.f != nil {
		// After a withdrawal queue-runner removes the file; where no record names it nobody else will for a while.
		if err != nil && !errors.Is(err, ErrUnknown) {
			_ = m.w.fs.Remove(m.w.l.large(m.id))
		}
		_ = m.f.Close()
	}
	m.mem, m.buf, m.f = nil, nil, nil
	m.hold()
	return at, err
}

// keepLarge makes the content last as large/ID, before any record names it.
func (m *Incoming) keepLarge() error {
	if err := m.flush(); err != nil {
		return err
	}
	if err := m.f.Sync(); err != nil {
		return err
	}
	if err := m.w.fs.RenameNoReplace(m.w.l.tmp(string(m.id)), m.w.l.large(m.id)); err != nil {
		return err
	}
	return m.w.fs.SyncDir(m.w.l.dir(dirLarge))
}

// Abort forgets the message. After Commit it does nothing.
func (m *Incoming) Abort() {
	if !m.over {
		m.over = true
		m.drop()
	}
}

// drop removes what the message has on disk; where that fails queue-runner sweeps it later.
func (m *Incoming) drop() {
	if m.f != nil {
		if m.w.fs.Remove(m.w.l.tmp(string(m.id))) != nil {
			_ = m.w.fs.Remove(m.w.l.large(m.id))
		}
		_ = m.f.Close()
	}
	m.mem, m.buf, m.f = nil, nil, nil
	m.hold()
}
