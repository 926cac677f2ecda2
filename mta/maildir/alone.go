package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// deliverAlone is Deliver for a mailbox that has Wanted. Whoever has the lock of tmp/unique is the only one to deliver the message,
// until it is in new/; durable.ErrLocked says that somebody is.
func (b Mailbox) deliverAlone(unique string, src Source, sync bool) error {
	tmp := filepath.Join(b.Path, dirTmp, unique)
	f, err := b.createLocked(tmp)
	if err != nil {
		return err
	}
	defer f.Close() // and with it the lock goes
	if err := b.stillDue(unique); err != nil {
		_ = b.FS.Remove(tmp)
		return err
	}
	name, size, err := b.fill(openFile{f}, tmp, unique, src, sync)
	if err != nil {
		return err
	}
	return b.publish(tmp, name, size, sync)
}

// stillDue says why the message is not to be delivered: fs.ErrExist where somebody has done so. With the lock, it stays true.
func (b Mailbox) stillDue(unique string) error {
	if err := b.Wanted(); err != nil || !b.Again {
		return err
	}
	path, err := b.Find(unique)
	if err == nil && path != "" {
		err = fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	return err
}

// openFile is a file that is closed later.
type openFile struct{ durable.File }

func (openFile) Close() error { return nil }

// createLocked is create for a file that is removed only where nobody writes it.
func (b Mailbox) createLocked(tmp string) (durable.File, error) {
	for try := 0; ; try++ {
		f, err := b.FS.Create(tmp, 0o640)
		switch {
		case err == nil:
			err = hold(f)
			if err != nil {
				_ = f.Close() // whoever has taken it removes it
				return nil, err
			}
			return f, nil
		case try == 2:
			return nil, err
		case errors.Is(err, fs.ErrNotExist):
			err = b.Make()
		case errors.Is(err, fs.ErrExist):
			err = b.clear(tmp)
		}
		if err != nil {
			return nil, err
		}
	}
}

// clear removes a file that a crash has left in tmp/.
func (b Mailbox) clear(tmp string) error {
	f, err := b.FS.OpenWrite(tmp)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, durable.ErrNoFile): // nobody writes to that
		return b.FS.Remove(tmp)
	case err != nil:
		return err
	}
	defer f.Close()
	if err := hold(f); err != nil {
		return err
	}
	if err := b.FS.Remove(tmp); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// hold locks a file, where its filesystem knows of locks.
func hold(f durable.File) error {
	err := f.Lock()
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("another process is delivering the message: %w", err)
	}
	return nil
}
