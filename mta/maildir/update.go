package maildir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// Remove removes messages, each whole, and tells done of each; one that is not there any more is no error. Where there is a
// Maildir++ quota file it is told once, at the end. When Remove returns nil they stay removed over a loss of power.
func (m *Maildrop) Remove(which []int, done func(i int, err error)) error {
	var octets, messages int64
	touched := map[*folder]bool{}
	for _, i := range which {
		err := m.lock.held()
		if err == nil {
			err = m.remove(i)
		}
		if err == nil {
			touched[m.folder(&m.all[i])] = true
			if m.counts(i) {
				octets, messages = octets+m.all[i].size, messages+1
			}
		}
		if errors.Is(err, ErrGone) {
			err = nil
		}
		done(i, err)
	}
	if len(touched) > 0 {
		m.changed()
	}
	if messages > 0 {
		m.tellQuota(-octets, -messages)
	}
	var failed error
	for f := range touched {
		failed = errors.Join(failed, f.sync())
	}
	return failed
}

// remove removes one message.
func (m *Maildrop) remove(i int) error {
	err := m.withFile(i, func(e *entry) error {
		name := string(m.file(e))
		st, err := m.folder(e).statFile(name)
		if err != nil {
			return err
		}
		if st.Ino != e.ino {
			return ErrGone
		}
		err = unix.Unlinkat(m.folder(e).fd, name, 0)
		if errors.Is(err, unix.ENOENT) {
			return ErrGone
		}
		if err != nil {
			return m.folder(e).fault("remove", name, err)
		}
		return nil
	})
	if err == nil {
		m.all[i].state |= gone
	}
	if err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("remove message: %w", err)
	}
	return err
}

// counts says whether a quota counts a message: Maildir++ leaves those out that have the flag T.
func (m *Maildrop) counts(i int) bool {
	n, ok := ParseName(string(m.file(&m.all[i])))
	return ok && !slices.Contains(n.Flags, 'T')
}

// tellQuota adds a line to the quota file, where there is one. Where it fails the count is too high until somebody counts anew,
// as they all do from time to time.
func (m *Maildrop) tellQuota(octets, messages int64) {
	_ = durable.OS{}.Append(m.path(QuotaFile), fmt.Appendf(nil, "%d %d\n", octets, messages))
}

// flagRetrieved sets the flag S of each message that RETR has sent. It waits until the session ends: most of them are
// removed then. A failure is nobody's loss.
func (m *Maildrop) flagRetrieved() {
	for i := range m.all {
		e := &m.all[i]
		if !e.is(retrieved) || e.is(gone) || e.is(inNew) {
			continue
		}
		_ = m.withFile(i, m.flagSeen)
	}
}

// flagSeen sets the flag S of a message, if its file is still that message.
func (m *Maildrop) flagSeen(e *entry) error {
	from := string(m.file(e))
	to, ok := withSeen(from)
	if !ok {
		return nil
	}
	st, err := m.curDir.statFile(from)
	if err != nil {
		return err
	}
	if st.Ino != e.ino {
		return ErrGone
	}
	if err := m.curDir.rename(from, m.curDir, to); err != nil {
		return err
	}
	m.list.rename(e, []byte(to))
	m.changed()
	return nil
}

// withSeen returns a file name with the flag S, its flags in the order of the alphabet; ok is false where it has the flag
// already, or an info part of another kind.
func withSeen(file string) (name string, ok bool) {
	base, info, found := strings.Cut(file, ":")
	if !found {
		return base + ":2,S", true
	}
	flags, ok := strings.CutPrefix(info, "2,")
	if !ok {
		return "", false
	}
	flags, rest, _ := strings.Cut(flags, ",")
	if strings.Contains(flags, "S") {
		return "", false
	}
	letters := append([]byte(flags), 'S')
	slices.Sort(letters)
	if rest != "" {
		rest = "," + rest
	}
	return base + ":2," + string(letters) + rest, true
}
