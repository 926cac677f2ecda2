package maildir

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/dot"
)

const (
	// inspectors bounds how many files of one mailbox are looked at at once, and inspectAlone is how few are not worth it.
	inspectors   = 4
	inspectAlone = 64
	// inspectBuffer is how much of a file is read at once.
	inspectBuffer = 64 << 10
)

// inspect completes entries of which only the name is known, and returns those that are to be shown: not what is gone
// again, no regular file, unfinished, or not to be read while others are. When it fails, it returns those that it came to.
func (m *Maildrop) inspect(ctx context.Context, some []entry) ([]entry, error) {
	// In the order of the inodes, which is as a rule that of the disk.
	slices.SortFunc(some, func(a, b entry) int {
		if a.ino < b.ino {
			return -1
		}
		return 1
	})
	n := 1
	if len(some) > inspectAlone {
		n = min(inspectors, runtime.GOMAXPROCS(0))
	}
	shown, errs, unreadable := make([]bool, len(some)), make([]error, n), make([]unreadable, n)
	each := (len(some) + n - 1) / n
	var workers sync.WaitGroup
	for w := range n {
		from, to := min(w*each, len(some)), min((w+1)*each, len(some))
		workers.Go(func() {
			buf := make([]byte, inspectBuffer)
			for i := from; i < to && errs[w] == nil; i++ {
				if errs[w] = ctx.Err(); errs[w] == nil {
					shown[i], errs[w] = m.complete(&some[i], buf, &unreadable[w])
				}
			}
		})
	}
	workers.Wait()
	kept := some[:0]
	for i, e := range some {
		if shown[i] {
			kept = append(kept, e)
		}
	}
	for _, u := range unreadable {
		m.unreadable.add(u.messages, u.err)
	}
	if len(kept)+len(m.all) == 0 {
		errs = append(errs, m.unreadable.err) // an empty mailbox would be a lie
	}
	return kept, errors.Join(errs...)
}

// unreadable counts messages that a snapshot leaves out, and has the first one's error.
type unreadable struct {
	messages int
	err      error
}

func (u *unreadable) add(messages int, err error) {
	if u.messages == 0 {
		u.err = err
	}
	u.messages += messages
}

// fileAlone says whether an error is one of a file and not of all the mailbox: another owner's, or on a bad part of a disk.
func fileAlone(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EIO)
}

// complete fills in one entry; it is false for what is not to be shown. It changes nothing else of the Maildrop.
func (m *Maildrop) complete(e *entry, buf []byte, failed *unreadable) (shown bool, err error) {
	name := string(m.file(e))
	n, ok := ParseName(name)
	if !ok {
		return false, nil
	}
	folder := m.folder(e)
	st, err := folder.statFile(name)
	switch {
	case errors.Is(err, ErrGone):
		return false, nil
	case err != nil:
		return false, err
	case unfinished(n, &st, m.now):
		return false, nil
	}
	if n.Size >= 0 && n.Size != st.Size {
		n.Wire = -1 // who wrote to the file since left it as it was
	}
	e.ino, e.size, e.mtime, e.wire = st.Ino, st.Size, unix.TimespecToNsec(st.Mtim), n.Wire
	if e.time, ok = arrival(n.Unique); !ok {
		e.time = st.Mtim.Sec
	}
	// Each LF may gain a CR, and the last line both; what is outside of that is no wire size.
	if e.wire >= e.size && e.wire <= 2*e.size+2 {
		return true, nil
	}
	e.state |= measured
	e.wire, err = m.measure(e, buf)
	if fileAlone(err) {
		failed.add(1, err)
		return false, nil
	}
	if errors.Is(err, ErrGone) {
		return false, nil
	}
	return err == nil, err
}

// unfinishedAge is for how long queue-runner may still come back to a delivery: a day more than queue.lifetime can be.
const unfinishedAge = 61 * 24 * time.Hour

// unfinished says whether a file is a delivery of our own that a loss of power has cut short: queue-runner writes it anew,
// and until then nobody must have the part under the UIDL of the whole. What other programs' names say of a size, and
// programs that shorten messages leave as it is, hides none of theirs.
func unfinished(n Name, st *unix.Stat_t, now time.Time) bool {
	return n.Size > st.Size && ours(n.Unique) && now.Sub(time.Unix(st.Mtim.Unix())) < unfinishedAge
}

// measure reads a message for its size on the wire.
func (m *Maildrop) measure(e *entry, buf []byte) (int64, error) {
	f, err := m.openAs(e)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := dot.WireSize(f, buf)
	if err != nil {
		return 0, fmt.Errorf("read mailbox: %w", m.folder(e).fault("read", string(m.file(e)), err))
	}
	return size, nil
}
