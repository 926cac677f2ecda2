package maildir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// refind looks for all messages whose files have another name now: other programs move them to cur/ and change flags. One
// that two walks in a row do not see is gone: a single walk can miss a file that is being renamed under it. All messages
// are looked for at once, so that a mailbox where every name changed costs one search and not one for each message.
func (m *Maildrop) refind() error {
	byUnique := make(map[string][]int, len(m.all))
	seen := make([]bool, len(m.all))
	for i, e := range m.all {
		byUnique[e.unique] = append(byUnique[e.unique], i)
		seen[i] = e.gone
	}
	for range 2 {
		if !slices.Contains(seen, false) {
			break
		}
		for _, folder := range []string{dirNew, dirCur} {
			err := eachFile(filepath.Join(m.dir, folder), func(file string, n Name) error {
				return m.match(folder, file, byUnique[n.Unique], seen)
			})
			if err != nil {
				return err
			}
		}
	}
	for i := range m.all {
		m.all[i].gone = m.all[i].gone || !seen[i]
	}
	return nil
}

// match gives a file's name to the one of the candidates whose file it is.
func (m *Maildrop) match(folder, file string, candidates []int, seen []bool) error {
	if len(candidates) == 0 {
		return nil
	}
	st, err := os.Lstat(filepath.Join(m.dir, folder, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, i := range candidates {
		if e := &m.all[i]; e.is(st) {
			e.folder, e.file = folder, file
			seen[i] = true
		}
	}
	return nil
}
