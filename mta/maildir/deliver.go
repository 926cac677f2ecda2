package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/posthouse-mail/posthouse/mta/dot"
	"github.com/posthouse-mail/posthouse/mta/durable"
)

// The folders of a Maildir.
const (
	dirTmp = "tmp"
	dirNew = "new"
	dirCur = "cur"
)

// Source is a message as it is to stand in a mailbox: LF line ends. It can be read any number of times.
type Source interface {
	WriteTo(w io.Writer) (int64, error)
}

// Mailbox delivers into one Maildir. What it promises of durability is for its caller to choose with sync.
type Mailbox struct {
	FS   durable.FS
	Path string
	// Admit is asked by Deliver when a message's size is known and nobody can see it yet: of an error nothing is left. nil:
	// not asked.
	Admit func(octets int64) error
	// Wanted is for a mailbox into which another process may be delivering the same message, as its asker has died and asked anew.
	// Deliver then keeps its file in tmp/ locked, asks Wanted, when it has the lock, whether its own asker is still there, and with
	// Again, for a delivery that may have been made before, looks for the message once more. nil: there is nobody else.
	Wanted func() error
	Again  bool
}

// ErrUnsynced says that a message is in new/, whole and visible to readers, but may be gone after a power loss.
var ErrUnsynced = errors.New("delivered, but not synced")

// Deliver puts the message into new/ under unique: written to tmp/, then renamed without replacing anything. With sync
// the file and its name last when it returns nil; ErrUnsynced when that failed at the very end. fs.ErrExist: a file of
// this name is there (Find tells more). Any other error may have left the file in new/.
func (b Mailbox) Deliver(unique string, src Source, sync bool) error {
	if b.Wanted != nil {
		return b.deliverAlone(unique, src, sync)
	}
	tmp, name, size, err := b.write(unique, src, sync)
	if err != nil {
		return err
	}
	return b.publish(tmp, name, size, sync)
}

// publish moves a written message to new/.
func (b Mailbox) publish(tmp, name string, size int64, sync bool) error {
	if b.Admit != nil {
		if err := b.Admit(size); err != nil {
			_ = b.FS.Remove(tmp)
			return err
		}
	}
	to := filepath.Join(b.Path, dirNew, name)
	if err := b.FS.RenameNoReplace(tmp, to); err != nil {
		_ = b.FS.Remove(tmp)
		return err
	}
	if sync {
		if err := b.syncName(to); err != nil {
			return fmt.Errorf("%w: %w", ErrUnsynced, err)
		}
	}
	return nil
}

// Replace writes the message anew over the file at path (of this Maildir), which a crash has cut short or a failing
// disk may have lost. The name stays; the file and its name last.
func (b Mailbox) Replace(path, unique string, src Source) error {
	tmp, _, _, err := b.write(unique, src, true)
	if err != nil {
		return err
	}
	if err := b.FS.Rename(tmp, path); err != nil {
		_ = b.FS.Remove(tmp)
		return err
	}
	return b.syncName(path)
}

// Sync makes a message that is there last, and its name.
func (b Mailbox) Sync(path string) error {
	f, err := b.FS.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return b.syncName(path)
}

// syncName makes a message's name last, and that of its folder: whoever made new/ may have died before that lasted.
func (b Mailbox) syncName(path string) error {
	return errors.Join(b.FS.SyncDir(filepath.Dir(path)), b.FS.SyncDir(b.Path))
}

// write makes tmp/unique and returns its path, the name it is to have, and its size.
func (b Mailbox) write(unique string, src Source, sync bool) (tmp, name string, size int64, err error) {
	tmp = filepath.Join(b.Path, dirTmp, unique)
	f, err := b.create(tmp)
	if err != nil {
		return "", "", 0, err
	}
	name, size, err = b.fill(f, tmp, unique, src, sync)
	return tmp, name, size, err
}

// fill writes a message into a new file and closes it.
func (b Mailbox) fill(f durable.File, tmp, unique string, src Source, sync bool) (name string, size int64, err error) {
	w := &fileWriter{f: f}
	_, err = src.WriteTo(w)
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = b.FS.Remove(tmp)
		return "", 0, fmt.Errorf("%s: %w", tmp, err)
	}
	return FileName(unique, w.off, w.wire()), w.off, nil
}

// create opens the file in tmp/, after making the mailbox at its first delivery and removing what a crash left.
func (b Mailbox) create(tmp string) (durable.File, error) {
	for try := 0; ; try++ {
		f, err := b.FS.Create(tmp, 0o640)
		switch {
		case err == nil || try == 2:
			return f, err
		case errors.Is(err, fs.ErrNotExist):
			err = b.Make()
		case errors.Is(err, fs.ErrExist):
			err = b.FS.Remove(tmp)
		}
		if err != nil {
			return nil, err
		}
	}
}

// Make makes the Maildir's folders, and those above it, where they are missing. new/, by which a Maildir is known to be
// there, comes last: when all other names last. Its own name is for the delivery to sync.
func (b Mailbox) Make() error {
	if err := b.makeRest(); err != nil {
		return err
	}
	return b.makeDir(filepath.Join(b.Path, dirNew))
}

// MakeWith is Make for a mailbox that is not there yet and begins with a message: new/ comes with the message in it or not at
// all, so that it is there once. Whoever else makes the mailbox at the same time may be quicker: then there is no message.
func (b Mailbox) MakeWith(unique string, src Source) error {
	if err := b.makeRest(); err != nil {
		return err
	}
	dir := filepath.Join(b.Path, dirTmp, unique)
	if err := b.makeDir(dir); err != nil {
		return err
	}
	left, err := b.FS.ReadDir(dir) // by a crash
	for _, name := range left {
		err = errors.Join(err, b.FS.Remove(filepath.Join(dir, name)))
	}
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, unique)
	f, err := b.FS.Create(tmp, 0o640)
	if err != nil {
		return err
	}
	name, _, err := b.fill(f, tmp, unique, src, true)
	if err != nil {
		return err
	}
	if err := b.FS.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	if err := b.FS.SyncDir(dir); err != nil {
		return err
	}
	if err = b.FS.RenameNoReplace(dir, filepath.Join(b.Path, dirNew)); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

// makeRest makes all but new/.
func (b Mailbox) makeRest() error {
	for _, d := range []string{dirTmp, dirCur} {
		if err := b.makeDir(filepath.Join(b.Path, d)); err != nil {
			return err
		}
	}
	// An earlier try may have made any of these and failed to sync it.
	for dir := b.Path; ; dir = filepath.Dir(dir) {
		err := b.FS.SyncDir(dir)
		if errors.Is(err, fs.ErrPermission) {
			break // who may not read a folder did not make one in it
		}
		if err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return nil
}

// folderMark is the file by which Courier and others know a folder of a Maildir++.
const folderMark = "maildirfolder"

// MakeFolder is Make for a folder of a Maildir++.
func (b Mailbox) MakeFolder() error {
	if err := b.makeDir(b.Path); err != nil {
		return err
	}
	f, err := b.FS.Create(filepath.Join(b.Path, folderMark), 0o640)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return b.Make()
}

// makeDir makes a folder and those above it.
func (b Mailbox) makeDir(path string) error {
	err := b.FS.Mkdir(path, 0o770)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		if err = b.makeDir(parent); err == nil {
			err = b.FS.Mkdir(path, 0o770)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Find returns the paths of the files in new/ and cur/ that have the unique part, "" when there is none. It looks
// twice: a reader may be moving the file from new/ to cur/ at this moment.
func (b Mailbox) Find(unique string) (string, error) {
	for range 2 {
		for _, d := range []string{dirNew, dirCur} {
			names, err := b.FS.ReadDir(filepath.Join(b.Path, d))
			if errors.Is(err, fs.ErrNotExist) {
				continue // a power loss may have taken one folder and left the other
			}
			if err != nil {
				return "", err
			}
			for _, name := range names {
				if rest, ok := strings.CutPrefix(name, unique); ok && (rest == "" || rest[0] == ',' || rest[0] == ':') {
					return filepath.Join(b.Path, d, name), nil
				}
			}
		}
	}
	return "", nil
}

// Exists says whether there is a Maildir at the path.
func (b Mailbox) Exists() bool {
	st, err := b.FS.Stat(filepath.Join(b.Path, dirNew))
	return err == nil && st.IsDir()
}

// fileWriter appends to a file and counts what POP3 will send of it.
type fileWriter struct {
	f     durable.File
	off   int64
	grows int64 // by so much on the wire
	last  byte
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	w.grows += dot.Growth(p[:n], w.last)
	if n > 0 {
		w.last = p[n-1]
	}
	return n, err
}

// wire is the size with CR LF line ends, the last line ended.
func (w *fileWriter) wire() int64 {
	n := w.off + w.grows
	if w.off > 0 && w.last != '\n' {
		n += 2
	}
	return n
}
