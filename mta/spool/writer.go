package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// rotateAfter is how long a segment with messages stays in use: a finished message can be reclaimed only once its
// segment is closed.
const rotateAfter = 3 * time.Second

// WriterOptions tell a Writer about its surroundings.
type WriterOptions struct {
	Boot   string           // the kernel's boot id (BootID)
	Now    func() time.Time // default time.Now
	Notify func()           // called after each commit; it must not block (Trigger.Poke)
}

// Writer takes messages into the spool: Begin, write the content, Commit. All sessions that commit at the same time
// share one sync. It is safe for use by many goroutines.
type Writer struct {
	fs  durable.FS
	l   layout
	who identity
	o   WriterOptions

	held atomic.Int64 // octets of messages on their way in that are in memory

	mu      sync.Mutex // guards all below, and the segments
	cond    *sync.Cond // a sync has ended
	cur     *segment
	spare   *segment  // in tmp/, ready: withdrawals go there when the disk refuses cur
	pending []*waiter // appended to cur, not yet synced
	syncing bool
	closed  bool
}

// waiter is a session that waits for its record to last.
type waiter struct {
	id   mta.ID
	off  int64
	seg  *segment
	done bool
	err  error
}

// OpenWriter returns smtpd's Writer for the spool at root. It touches nothing before the first message.
func OpenWriter(fsys durable.FS, root string, o WriterOptions) *Writer {
	return newWriter(fsys, layout{root}, writerSMTPD, o)
}

func newWriter(fsys durable.FS, l layout, writer string, o WriterOptions) *Writer {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Writer{fs: fsys, l: l, who: newIdentity(writer, o.Boot), o: o}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// place is where a committed message's record stands.
type place struct {
	file string
	off  int64
}

// add appends a message record and returns once it lasts. An error is ErrFull, ErrFailed or ErrUnknown; after the
// first two nothing of the message will ever be delivered.
func (w *Writer) add(env *mta.Envelope, rec messageRecord) (place, error) {
	var err error
	if rec.envelope, err = json.Marshal(env); err != nil {
		return place{}, fmt.Errorf("%w: envelope: %w", ErrFailed, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	g, err := w.segment()
	if err != nil {
		return place{}, refusal(err)
	}
	off, err := g.append(kindMessage, rec.head(), rec.envelope, rec.tail())
	if err != nil && g.broken == nil {
		return place{}, refusal(err)
	}
	// A broken append may have left the whole record on the disk: it has to be withdrawn like the others.
	me := &waiter{id: env.ID, off: off, seg: g}
	w.pending = append(w.pending, me)
	for !me.done {
		w.waitOrLead()
	}
	return place{g.name, off}, me.err
}

// waitOrLead waits for the sync that is under way, or does the next one for all that are pending.
func (w *Writer) waitOrLead() {
	if w.syncing {
		w.cond.Wait()
		return
	}
	g, batch, covered := w.cur, w.pending, w.cur.off
	w.pending, w.syncing = nil, true
	err := g.broken
	if err == nil {
		w.mu.Unlock()
		err = g.f.Sync()
		w.mu.Lock()
	}
	w.syncing = false
	if err == nil {
		err = g.broken // an append failed meanwhile
	}
	if err == nil {
		err = g.commit(covered)
	}
	if err != nil {
		w.fail(append(batch, w.pending...), err)
	} else {
		for _, x := range batch {
			x.done = true
		}
		if w.o.Notify != nil {
			w.o.Notify()
		}
	}
	w.cond.Broadcast()
}

// fail leaves the current segment for good and withdraws what is in flight: after a failed sync nobody knows which of
// these records the disk has. They are refused only once their withdrawal lasts.
func (w *Writer) fail(batch []*waiter, cause error) {
	w.cur.abandon()
	w.cur, w.pending = nil, nil
	err := w.withdraw(batch)
	for _, x := range batch {
		x.done = true
		if err != nil {
			x.err = fmt.Errorf("%w: %w, withdrawal: %w", ErrUnknown, cause, err)
		} else {
			x.err = refusal(cause)
		}
	}
}

func (w *Writer) withdraw(batch []*waiter) error {
	g, err := w.takeSpare()
	if err != nil {
		return err
	}
	for _, x := range batch {
		if _, err := g.append(kindWithdrawn, []byte(x.id)); err != nil {
			g.abandon()
			return err
		}
	}
	covered := g.off
	if err := g.f.Sync(); err != nil {
		g.abandon()
		return err
	}
	if err := g.commit(covered); err != nil {
		g.abandon()
		return err
	}
	w.cur = g
	if w.o.Notify != nil {
		w.o.Notify()
	}
	return nil
}

// takeSpare gives the spare segment its place in incoming/.
func (w *Writer) takeSpare() (*segment, error) {
	g := w.spare
	if g == nil {
		var err error
		if g, err = newSegment(w.fs, w.l, w.who, w.o.Now()); err != nil {
			return nil, err
		}
	}
	w.spare = nil
	if err := g.publish(dirIncoming, w.o.Now()); err != nil {
		return nil, err
	}
	return g, nil
}

// segment returns the segment to append to, after rotating an old one. Nothing is appended anywhere before a spare is
// ready, so that a refusal can always be kept.
func (w *Writer) segment() (*segment, error) {
	for {
		if w.closed {
			return nil, errors.New("writer is closed")
		}
		if w.cur == nil || !w.full() {
			break
		}
		if w.syncing || len(w.pending) > 0 {
			w.waitOrLead()
			continue
		}
		w.cur.close()
		w.cur = nil
	}
	if w.cur == nil {
		g, err := w.takeSpare()
		if err != nil {
			return nil, err
		}
		w.cur = g
	}
	if w.spare == nil {
		g, err := newSegment(w.fs, w.l, w.who, w.o.Now())
		if err != nil {
			return nil, err
		}
		w.spare = g
	}
	return w.cur, nil
}

func (w *Writer) full() bool {
	return w.cur.off >= maxSegment || w.o.Now().Sub(w.cur.born) >= rotateAfter
}

// Rotate closes the current segment when it is due, so that an idle writer holds none. Its owner calls it every second
// or so.
func (w *Writer) Rotate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cur != nil && w.full() && !w.syncing && len(w.pending) == 0 {
		w.cur.close()
		w.cur = nil
	}
}

// Close ends the writer once all that is pending has its answer; later commits fail with ErrFailed.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for w.syncing || len(w.pending) > 0 {
		w.waitOrLead()
	}
	if w.cur != nil {
		w.cur.close()
		w.cur = nil
	}
	if w.spare != nil {
		w.spare.abandon()
		_ = w.fs.Remove(w.l.tmp(w.spare.name)) // swept later where this fails
		w.spare = nil
	}
}

// refusal makes the cause of a refused message one of the errors that smtpd knows.
func refusal(cause error) error {
	if isFull(cause) {
		return fmt.Errorf("%w: %w", ErrFull, cause)
	}
	return fmt.Errorf("%w: %w", ErrFailed, cause)
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
