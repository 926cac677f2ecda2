package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posthouse-mail/posthouse/mta"
	"github.com/posthouse-mail/posthouse/mta/durable"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// ErrRunning says that another queue-runner holds the spool.
var ErrRunning = errors.New("another queue-runner has the spool")

// Options tell a Store about its surroundings.
type Options struct {
	FS   durable.FS
	Root string
	Boot string           // the kernel's boot id (BootID)
	Now  func() time.Time // default time.Now
	Log  *maillog.Log

	Readers int // how many deferred messages the start reads at once; default 1
}

// Store is queue-runner's side of the spool. It is safe for use by many goroutines; messages that different
// goroutines work on do not wait for each other, save for memory.
type Store struct {
	fs   durable.FS
	l    layout
	o    Options
	lock durable.File
	own  *Writer // for reports and forwards

	tail  sync.Mutex // one reader of segments at a time; before mu
	check sync.Mutex // one checkpoint at a time; before mu
	flush sync.Mutex // one sync of the journal at a time; before mu

	said sayings

	mu      sync.Mutex // guards all below
	msgs    map[mta.ID]*Message
	segs    map[string]*segState
	badSegs map[string]bool
	strays  map[mta.ID]int // in how many segments' pending, stray and withdrawn
	j       journal
	done    map[*Message]bool   // settled, not yet in a checkpoint
	locals  map[*Message]bool   // has recipients in rcptLocal
	touched map[*Message]bool   // spilled, or ID.log written to, since the last good sync of the spool's filesystem
	suspect map[*Message]bool   // was in touched when that sync failed: its files are to be written anew
	devs    map[uint64]string   // a folder in each mailbox filesystem that was delivered to
	making  int                 // reports and forwards on their way into a segment of our own
	unread  bool                // one of them failed, and our own segments were not read since: they may hold its withdrawal
	adopt   map[mta.ID]bool     // committed reports and forwards whose segment could not be opened: they arrive by reading it
	late    []*Message          // ... and have arrived since the last Poll
	gone    map[mta.ID]struct{} // large files of segments unlinked since the last good sync
	orphans map[mta.ID]int      // large files that nobody seems to need, with the value of polls when they were found
	polls   int                 // how often all segments were read to their present end
	swept   time.Time
}

// Open takes the spool's lock and brings what is there in order, whatever ended the last run (spool.5, START-UP).
// Outstanding then tells what there is to do.
func Open(o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := layout{o.Root}
	s := &Store{
		fs: o.FS, l: l, o: o,
		own:  newWriter(o.FS, l, writerQueue, WriterOptions{Boot: o.Boot, Now: o.Now}),
		msgs: map[mta.ID]*Message{}, segs: map[string]*segState{}, badSegs: map[string]bool{}, strays: map[mta.ID]int{},
		j:    journal{fs: o.FS, l: l, who: newIdentity(writerJournal, o.Boot), now: o.Now},
		done: map[*Message]bool{}, locals: map[*Message]bool{}, touched: map[*Message]bool{}, suspect: map[*Message]bool{}, devs: map[uint64]string{},
		adopt: map[mta.ID]bool{}, gone: map[mta.ID]struct{}{}, orphans: map[mta.ID]int{},
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		_ = s.lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) takeLock() error {
	path := s.l.dir(nameLock)
	f, err := s.fs.OpenWrite(path)
	if err != nil {
		if f, err = s.fs.Create(path, 0o600); err != nil {
			return err
		}
	}
	if err := f.Lock(); err != nil {
		_ = f.Close()
		if errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("%s: %w", path, ErrRunning)
		}
		return err
	}
	if err := checkFloor(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	s.lock = f
	return nil
}

// spoolVersion is the newest version of a spool as a whole that this program takes over. What the lock says is the least
// version that a program must know; one that writes what older programs would misread raises it first.
const spoolVersion = 1

// maxFloor bounds what is read of the lock.
const maxFloor = 64

// checkFloor reads the lock: nothing, which is version 1, or a number and a line feed, with more behind it that is for later
// versions. mta.ErrNewer where that is beyond this program, or is no number: then only a later program can have written it.
func checkFloor(f io.ReaderAt) error {
	b := make([]byte, maxFloor)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	if line == "" {
		return nil
	}
	if v, err := strconv.Atoi(line); err != nil || v > spoolVersion {
		return fmt.Errorf("the spool is of version %.20q, and this program knows %d: %w; nothing was changed: go forward to that version, or empty the queue with it first",
			line, spoolVersion, mta.ErrNewer)
	}
	return nil
}

// Close ends the Store after a last checkpoint has been made or not: the next start finds what it needs either way.
func (s *Store) Close() {
	s.own.Close()
	_ = s.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.j.cur != nil {
		s.j.cur.close()
		s.j.cur = nil
	}
	for _, g := range s.segs {
		if g.r.f != nil {
			_ = g.r.f.Close()
			g.r.f = nil
		}
	}
	_ = s.lock.Close()
}

// Poll reads what writers have committed since the last call, in order, up to about max messages; more says that
// there was more. An error is about one of the segments; what was read from the others is returned beside it.
func (s *Store) Poll(max int) (fresh []*Message, more bool, err error) {
	s.tail.Lock()
	defer s.tail.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return nil, false, err
	}
	fresh, s.late = s.late, nil
	for _, g := range s.sortedSegs() {
		if g.complete {
			continue
		}
		if len(fresh) >= max {
			return fresh, true, err
		}
		found, rerr := s.read(g, max-len(fresh))
		if rerr != nil {
			s.o.Log.SpoolError("read "+g.name, rerr)
			err = rerr
		}
		for _, a := range found {
			if m := s.arrive(a); m != nil {
				fresh = append(fresh, m)
			}
		}
	}
	more = len(fresh) >= max
	if !more && err == nil {
		s.polls++
	}
	return fresh, more, err
}

// sortedSegs returns the segments in the order of their names, which is that of their making.
func (s *Store) sortedSegs() []*segState {
	out := slices.Collect(maps.Values(s.segs))
	slices.SortFunc(out, func(a, b *segState) int { return cmp.Compare(a.name, b.name) })
	return out
}

// Outstanding returns the messages that are not finished, in the order of their ids.
func (s *Store) Outstanding() []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Message
	for _, m := range s.msgs {
		if !m.finished && !m.withdrawn && !m.stuck {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, byID)
	return out
}

// arrive registers a message that was read from a segment; nil when it is known already.
func (s *Store) arrive(a *arrival) *Message {
	if s.msgs[a.id] != nil || a.seg.own && !s.adopt[a.id] {
		return nil
	}
	if a.seg.own {
		delete(s.adopt, a.id)
		s.unstray(a.id)
		s.settleParent(a.env)
	}
	m := &Message{id: a.id, seg: a.seg, off: a.off, inline: !a.rec.large, files: a.rec.large, cached: &cached{a.env, a.rec}}
	m.learn(a.env)
	s.register(m)
	return m
}

// learn takes the number of recipients from the envelope.
func (m *Message) learn(env *mta.Envelope) {
	m.known = true
	m.timed = env.DeliverBy != nil || !env.ReleaseAt.IsZero()
	if m.holds == 0 {
		m.hold = env.Hold
	}
	m.grow(len(env.Rcpts))
}

// register adds a message to the map and to its segment.
func (s *Store) register(m *Message) {
	s.msgs[m.id] = m
	if m.seg != nil {
		m.seg.msgs = append(m.seg.msgs, m)
		if !m.spilled && !m.finished {
			m.seg.live++
		}
	}
	s.settle(m)
}

// settle notes that there is nothing left to do for a message, or that there is something again.
func (s *Store) settle(m *Message) {
	if m.settled() && !m.finished && !m.stuck {
		s.done[m] = true
	} else {
		delete(s.done, m)
	}
}
