package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	// ErrInUse says that another session has the mailbox open.
	ErrInUse = errors.New("mailbox is open in another session")
	// ErrGone says that a message of the snapshot was removed or changed since by another program.
	ErrGone = errors.New("message is gone")
)

// Message is one message of a Maildrop.
type Message struct {
	Unique string // the unique part of its file name
	Size   int64  // octets with CR LF line ends, the last line's too, before any dot-stuffing (RFC 1939 11)
	Twin   uint64 // 0; else another message has the same Unique, and this number tells them apart
}

// Maildrop is one session's view of a Maildir (RFC 1939 4): the messages that were there when it was opened, oldest
// first. It holds the mailbox for itself until Close; deliveries and IMAP servers go on beside it. It changes no flags
// and moves no message from new/ to cur/. It is for one goroutine.
type Maildrop struct {
	dir  string
	lock *os.File // nil where the Maildir does not exist
	all  []entry
}

// OpenMaildrop takes the mailbox at dir and lists it; ErrInUse when another session has it. A Maildir that does not exist
// reads as empty. ctx bounds the listing, which reads each message whose name does not give its size.
func OpenMaildrop(ctx context.Context, dir string) (*Maildrop, error) {
	lock, err := lockSession(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Maildrop{dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := scan(ctx, dir)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &Maildrop{dir: dir, lock: lock, all: all}, nil
}

// Close gives the mailbox back.
func (m *Maildrop) Close() error {
	if m.lock == nil {
		return nil
	}
	return m.lock.Close()
}

// Len returns how many messages there are.
func (m *Maildrop) Len() int { return len(m.all) }

// Message returns message i, from 0.
func (m *Maildrop) Message(i int) Message {
	e := &m.all[i]
	msg := Message{Unique: e.unique, Size: e.wire}
	if e.twin {
		msg.Twin = e.id.ino
	}
	return msg
}

// Open opens the file of message i as it is stored, with LF line ends as a rule. Reading yields what was there at the
// snapshot or ends early with io.ErrUnexpectedEOF, and is never another message; ErrGone when it is not there any more.
func (m *Maildrop) Open(i int) (io.ReadCloser, error) {
	var f *os.File
	err := m.withFile(i, func(path string) (err error) {
		f, err = openAs(path, m.all[i])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open message: %w", err)
	}
	return &content{f: f, left: m.all[i].size}, nil
}

// Remove removes message i. One that is not there any more is no error.
func (m *Maildrop) Remove(i int) error {
	err := m.withFile(i, func(path string) error {
		st, err := os.Lstat(path)
		if err == nil && !m.all[i].is(st) {
			return ErrGone
		}
		if err == nil {
			err = unix.Unlink(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return ErrGone
		}
		return err
	})
	if err == nil {
		m.all[i].gone = true
	}
	if err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("remove message: %w", err)
	}
	return nil
}

// withFile calls do with the path of message i, and again with a new one when the first call finds ErrGone and the
// message has another name now.
func (m *Maildrop) withFile(i int, do func(path string) error) error {
	e := &m.all[i]
	if e.gone {
		return ErrGone
	}
	err := do(filepath.Join(m.dir, e.folder, e.file))
	if !errors.Is(err, ErrGone) {
		return err
	}
	if err := m.refind(); err != nil {
		return err
	}
	if e.gone {
		return ErrGone
	}
	return do(filepath.Join(m.dir, e.folder, e.file))
}

// content reads a message up to the size that the snapshot gave.
type content struct {
	f    *os.File
	left int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.f.Read(p)
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *content) Close() error { return c.f.Close() }
