package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

var (
	// ErrInUse says that another session has the mailbox open.
	ErrInUse = errors.New("mailbox is open in another session")
	// ErrTooSoon says that the last session began less than Options.MinInterval ago.
	ErrTooSoon = errors.New("mailbox was opened a moment ago")
	// ErrGone says that a message of the snapshot was removed or changed since by another program.
	ErrGone = errors.New("message is gone")
	// ErrLost says that another host has taken the mailbox over, because this one had not been heard of for minutes.
	ErrLost = errors.New("mailbox was taken over by another host")
)

// Options say how a mailbox is opened.
type Options struct {
	MinInterval time.Duration // between the beginnings of two sessions; 0 = none
}

// Maildrop is one session's view of a Maildir (RFC 1939 4): the messages that were there when it was opened, oldest
// first. It holds the mailbox for itself until Close; deliveries and IMAP servers go on beside it. It is for one goroutine.
type Maildrop struct {
	list
	dir            string
	now            time.Time // of the snapshot
	shared         bool      // on a filesystem that other hosts have too
	lock           *sessionLock
	newDir, curDir *folder // nil where the Maildir does not exist
	stamp          stamps  // of the folders, before they were listed
	settled        bool    // a later change of them shows in their stamps
	unreadable     unreadable
	clean          bool   // the cache on disk says the same
	buf            []byte // for measure
}

// OpenMaildrop takes the mailbox at dir, moves what is in new/ to cur/, and lists it; ErrInUse when another session has
// it, ErrTooSoon when its last one is too recent. A Maildir that does not exist reads as empty. ctx bounds the listing.
func OpenMaildrop(ctx context.Context, dir string, o Options) (*Maildrop, error) {
	_, local, err := durable.OS{}.Device(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Maildrop{dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	return open(ctx, dir, o, !local, time.Now())
}

func open(ctx context.Context, dir string, o Options, shared bool, now time.Time) (*Maildrop, error) {
	m := &Maildrop{dir: dir, now: now, shared: shared}
	var err error
	if m.lock, err = lockSession(dir, o.MinInterval, shared, now); err != nil {
		return nil, err
	}
	if err = m.openFolders(); err == nil && m.curDir != nil {
		if err = m.scan(ctx, now); err != nil {
			m.keepProgress()
		}
	}
	if err == nil {
		err = m.lock.began(now)
	}
	if err != nil {
		_ = m.release()
		return nil, err
	}
	return m, nil
}

// openFolders opens new/ and cur/. A Maildir that has neither is about to be made, and empty; one that lacks one of them
// gets it.
func (m *Maildrop) openFolders() error {
	var err, curErr error
	m.newDir, err = openFolder(m.dir, dirNew)
	m.curDir, curErr = openFolder(m.dir, dirCur)
	noNew, noCur := errors.Is(err, fs.ErrNotExist), errors.Is(curErr, fs.ErrNotExist)
	switch {
	case noNew && noCur:
		return nil
	case noNew:
		m.newDir, err = makeFolder(m.dir, dirNew)
	case noCur:
		m.curDir, curErr = makeFolder(m.dir, dirCur)
	}
	return errors.Join(err, curErr)
}

// Close sets the flag S of what Retrieved has named, keeps what was learnt for the next session, and gives the mailbox
// back.
func (m *Maildrop) Close() error {
	if m.lock == nil {
		return nil
	}
	if m.curDir != nil && m.lock.held() == nil {
		m.flagRetrieved()
		m.saveCache()
	}
	return m.release()
}

func (m *Maildrop) release() error {
	m.newDir.close()
	m.curDir.close()
	err := m.lock.release()
	m.lock = nil
	return err
}

// Len returns how many messages there are.
func (m *Maildrop) Len() int { return len(m.all) }

// Size returns the octets of message i, from 0, with CR LF line ends, the last line's too, before any dot-stuffing (RFC
// 1939 11).
func (m *Maildrop) Size(i int) int64 { return m.all[i].wire }

// Unique returns the unique part of the file name of message i; it must not be changed.
func (m *Maildrop) Unique(i int) []byte { return m.unique(&m.all[i]) }

// Twin says whether another message has the same unique part.
func (m *Maildrop) Twin(i int) bool { return m.all[i].is(twin) }

// Unreadable returns how many messages cannot be read and are not shown, and why the first of them is not. Where none can be
// read, the mailbox cannot be opened.
func (m *Maildrop) Unreadable() (messages int, err error) {
	return m.unreadable.messages, m.unreadable.err
}

// Measured returns how many messages were, in this session or an earlier one, read for their size.
func (m *Maildrop) Measured() (n int) {
	for i := range m.all {
		if m.all[i].is(measured) {
			n++
		}
	}
	return n
}

// Open opens message i as it is stored, with LF line ends as a rule. Reading yields what was there at the snapshot or ends
// early with io.ErrUnexpectedEOF, and is never another message; ErrGone when it is not there any more.
func (m *Maildrop) Open(i int) (*File, error) {
	var f *File
	err := m.withFile(i, func(e *entry) (err error) {
		f, err = m.openAs(e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open message: %w", err)
	}
	return f, nil
}

// Retrieved says that a client has message i now.
func (m *Maildrop) Retrieved(i int) { m.all[i].state |= retrieved }

// openAs opens the file of e if it is still what the snapshot saw; ErrGone otherwise. A file that was written to since its
// size on the wire was counted is counted again: no cache is believed over it.
func (m *Maildrop) openAs(e *entry) (*File, error) {
	fd, st, err := m.folder(e).openFile(string(m.file(e)))
	if err != nil {
		return nil, err
	}
	f := &File{fd: fd, left: st.Size}
	if st.Ino != e.ino {
		_ = f.Close()
		return nil, ErrGone
	}
	mtime := unix.TimespecToNsec(st.Mtim)
	if st.Size == e.size && (mtime == e.mtime || !e.is(measured) || e.wire == 0) {
		return f, nil
	}
	m.changed()
	if st.Size == e.size {
		wire, err := m.recount(f)
		if err == nil && wire == e.wire {
			e.mtime = mtime
			return f, nil
		}
	}
	_ = f.Close()
	e.state |= wrong
	return nil, ErrGone
}

// recount reads a whole file for its size on the wire and goes back to its beginning.
func (m *Maildrop) recount(f *File) (int64, error) {
	if m.buf == nil {
		m.buf = make([]byte, inspectBuffer)
	}
	size := f.left
	wire, err := dot.WireSize(f, m.buf)
	if err == nil {
		f.left = size
		_, err = unix.Seek(f.fd, 0, 0)
	}
	return wire, err
}

// folder is where the file of e is.
func (m *Maildrop) folder(e *entry) *folder {
	if e.is(inNew) {
		return m.newDir
	}
	return m.curDir
}

// withFile calls do with message i, and again when the first call finds ErrGone and the message has another name now.
func (m *Maildrop) withFile(i int, do func(e *entry) error) error {
	e := &m.all[i]
	if e.is(gone) || e.is(wrong) {
		return ErrGone
	}
	err := do(e)
	if !errors.Is(err, ErrGone) {
		return err
	}
	if e.is(wrong) {
		return ErrGone
	}
	m.changed()
	if err := m.refind(); err != nil {
		return err
	}
	if e.is(gone) {
		return ErrGone
	}
	return do(e)
}

// changed says that the mailbox is not any more what the cache on disk says.
func (m *Maildrop) changed() { m.settled, m.clean = false, false }

// path is a file in the Maildir itself, beside its folders.
func (m *Maildrop) path(name string) string { return filepath.Join(m.dir, name) }
