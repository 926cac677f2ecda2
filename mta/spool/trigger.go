package spool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Trigger is the FIFO by which a writer wakes queue-runner. It is a hint: a poke that is lost costs a look on the timer.
type Trigger struct {
	path string
	mu   sync.Mutex // guards f
	f    *os.File
}

// NewTrigger returns the writers' end of the trigger of the spool at root.
func NewTrigger(root string) *Trigger { return &Trigger{path: filepath.Join(root, nameTrigger)} }

// Poke wakes queue-runner if it is there. It never blocks and never fails.
func (t *Trigger) Poke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range 2 {
		if t.f == nil {
			f, err := os.OpenFile(t.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				return
			}
			t.f = f
		}
		c, err := t.f.SyscallConn()
		if err != nil {
			return
		}
		var werr error
		_ = c.Write(func(fd uintptr) bool {
			_, werr = syscall.Write(int(fd), []byte{0})
			return true
		})
		if werr == nil || errors.Is(werr, syscall.EAGAIN) { // full: the runner has enough to wake up for
			return
		}
		_ = t.f.Close() // the runner was restarted
		t.f = nil
	}
}

// Close gives the file up.
func (t *Trigger) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.f != nil {
		_ = t.f.Close()
		t.f = nil
	}
}

// ListenTrigger makes the FIFO if it is missing and sends on woken, whose buffer should be 1, whenever a writer pokes.
// It returns when ctx ends, or at once with an error when the FIFO cannot be used.
func ListenTrigger(ctx context.Context, root string, woken chan<- struct{}) error {
	path := filepath.Join(root, nameTrigger)
	err := syscall.Mkfifo(path, 0o620)
	if err == nil {
		err = os.Chmod(path, 0o620) // whatever the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	// Open for writing too: with a writer of our own there is never an end of file.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeNamedPipe {
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("not a FIFO")}
	}
	buf := make([]byte, 512)
	for {
		if _, err := f.Read(buf); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case woken <- struct{}{}:
		default: // it is awake already
		}
	}
}
