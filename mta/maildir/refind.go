package maildir

import (
	"errors"
	"slices"
)

// refind looks for all messages whose files have another name now: other programs move them to cur/ and change flags. One
// that two walks in a row do not see is gone: a single walk can miss a file that is being renamed under it. All messages
// are looked for at once, so that a mailbox where every name changed costs one search and not one for each message.
func (m *Maildrop) refind() error {
	m.compact()
	known := newFullIndex(&m.list)
	seen := make([]bool, len(m.all))
	for i := range m.all {
		seen[i] = m.all[i].is(gone)
	}
	for range 2 {
		if !slices.Contains(seen, false) {
			break
		}
		for _, f := range []*folder{m.newDir, m.curDir} {
			if err := f.each(func(d dirent) error { return m.match(f, d, known, seen) }); err != nil {
				return err
			}
		}
	}
	for i := range m.all {
		if !seen[i] {
			m.all[i].state |= gone
		}
	}
	return nil
}

// match gives a file's name to the one of the messages whose file it is.
func (m *Maildrop) match(f *folder, d dirent, known *index, seen []bool) error {
	unique := uniqueLen(d.name)
	if unique == 0 || len(d.name) > 255 || !d.mayBeFile() {
		return nil
	}
	var failed error
	known.each(d.name[:unique], func(i int) bool {
		e := &m.all[i]
		if e.ino != d.ino { // some filesystems list other numbers than stat(2) tells
			st, err := f.statFile(string(d.name))
			if failed = err; err != nil || st.Ino != e.ino {
				return err == nil
			}
		}
		if e.is(inNew) != (f == m.newDir) || string(m.file(e)) != string(d.name) {
			m.list.rename(e, d.name)
			e.state &^= inNew
			if f == m.newDir {
				e.state |= inNew
			}
		}
		seen[i] = true
		return false
	})
	if errors.Is(failed, ErrGone) {
		return nil
	}
	return failed
}
