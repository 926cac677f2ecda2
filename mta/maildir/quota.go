package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/posthouse-mail/posthouse/mta/durable"
)

// QuotaFile is the file of Maildir++ in which those who add and remove messages keep count: the quota in its first line, as
// 5000000S, then lines of octets and messages that are added up; see maildirquota(7) of Courier. Dovecot keeps it too.
const QuotaFile = "maildirsize"

const (
	// maxQuotaFile is the size of a quota file from which on its messages are counted anew.
	maxQuotaFile = 5120
	// quotaFresh is for how long a count of one line is believed that says that the mailbox is full.
	quotaFresh = 15 * time.Minute
	// recounts is how often a count is begun anew, where others change the mailbox meanwhile.
	recounts = 3
)

// Counter keeps the count of one mailbox. What it writes need not outlast a loss of power: a count that is wrong is found out
// when it says that the mailbox is full, and once the file has grown; no message hangs on it.
type Counter struct {
	FS    durable.FS
	Path  string // the Maildir, none of its folders
	Limit int64  // octets; 0 = no quota of ours: the count is kept for others who have begun one
	Now   func() time.Time
}

// Used returns what the quota counts, by the quota file. It counts messages where there is none, where it is of another quota
// or grown too long; and, where another need octets would be too much, unless somebody just did.
func (c Counter) Used(need int64) (Usage, error) {
	f, err := c.read()
	if err != nil {
		return Usage{}, err
	}
	age := c.Now().Sub(f.at) // below 0 where the clock was set back
	if !f.good || f.sum.Octets+need > c.Limit && (f.lines > 1 || age < 0 || age > quotaFresh) {
		return c.Recount()
	}
	return f.sum, nil
}

// Said returns what the quota file says; ok is false where there is none, or it cannot be believed.
func (c Counter) Said() (u Usage, ok bool, err error) {
	f, err := c.read()
	return f.sum, f.good, err
}

// Add adds a line to the quota file, in one write, as others do the same. Where there is none yet, messages are counted.
func (c Counter) Add(u Usage) error {
	path := filepath.Join(c.Path, QuotaFile)
	err := c.FS.Append(path, fmt.Appendf(nil, "%d %d\n", u.Octets, u.Messages))
	switch absent := errors.Is(err, fs.ErrNotExist); {
	case c.Limit == 0 && absent:
		return nil
	case c.Limit == 0 && err == nil:
		// Whoever keeps a count of his own makes a new one. Without him the file would grow for ever.
		if st, err := c.FS.Stat(path); err == nil && st.Size() > maxQuotaFile {
			return c.FS.Remove(path)
		}
	case absent:
		_, err = c.Recount()
	}
	return err
}

// Recount counts the messages, and writes the quota file anew. Where others change the mailbox meanwhile it may be wrong: then
// it leaves no file, so that the next one counts again.
func (c Counter) Recount() (Usage, error) {
	path := filepath.Join(c.Path, QuotaFile)
	for try := 1; ; try++ {
		before, err := c.state()
		if err != nil {
			return Usage{}, err
		}
		h, err := Measure(c.FS, c.Path)
		if err != nil || before == nil {
			return h.Counted, err
		}
		if err := c.write(path, h.Counted); err != nil {
			return h.Counted, err
		}
		after, err := c.state()
		if err != nil || slices.Equal(before, after) {
			return h.Counted, err
		}
		if err := c.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return h.Counted, err
		}
		if try == recounts {
			return h.Counted, nil
		}
	}
}

// state is what changes when messages come or go: the names of the folders, and the times of their new/ and cur/; nil where
// there is no Maildir.
func (c Counter) state() ([]string, error) {
	boxes, err := Boxes(c.FS, c.Path)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, box := range boxes {
		for _, name := range []string{dirNew, dirCur} {
			st, err := c.FS.Stat(filepath.Join(box, name))
			switch {
			case err == nil:
				all = append(all, box+"/"+name+" "+strconv.FormatInt(st.ModTime().UnixNano(), 10))
			case !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		}
	}
	return all, nil
}

// write puts a file with one count into the place of the old one.
func (c Counter) write(path string, u Usage) error {
	// The name is that of no message: those who look for what is left over in tmp/ remove it.
	tmp := filepath.Join(c.Path, dirTmp, fmt.Sprintf("%d.P%d.%s", c.Now().UnixNano(), os.Getpid(), QuotaFile))
	f, err := c.FS.Create(tmp, 0o660)
	if errors.Is(err, fs.ErrExist) { // of a process that had the same number, and of a clock that was set back
		if err = c.FS.Remove(tmp); err == nil {
			f, err = c.FS.Create(tmp, 0o660)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%s\n%d %d\n", c.definition(), u.Octets, u.Messages), 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = c.FS.Rename(tmp, path)
	}
	if err != nil {
		_ = c.FS.Remove(tmp)
	}
	return err
}

// definition is the quota as the file's first line has it.
func (c Counter) definition() string { return strconv.FormatInt(c.Limit, 10) + "S" }

// counted is a quota file that was read.
type counted struct {
	sum   Usage
	lines int       // behind the first
	at    time.Time // of the last change
	good  bool      // it can be believed
}

// read reads the quota file. One that is not there, or is at fault, is not good, and no error.
func (c Counter) read() (counted, error) {
	path := filepath.Join(c.Path, QuotaFile)
	st, err := c.FS.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!st.Mode().IsRegular() || st.Size() > maxQuotaFile) {
		return counted{}, nil
	}
	if err != nil {
		return counted{}, err
	}
	f, err := c.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return counted{}, nil
	}
	if err != nil {
		return counted{}, err
	}
	defer f.Close()
	text := make([]byte, maxQuotaFile+1)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return counted{}, err
	}
	if n > maxQuotaFile {
		return counted{}, nil
	}
	definition, sum, lines, ok := parseQuotaFile(text[:n])
	return counted{sum: sum, lines: lines, at: st.ModTime(), good: ok && definition == c.definition()}, nil
}

// parseQuotaFile reads a quota file. It is not ok where a line is at fault or has no end, where there is no count at all, and
// where the sum is negative: somebody has counted wrong.
func parseQuotaFile(text []byte) (definition string, sum Usage, lines int, ok bool) {
	first, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok {
		return "", Usage{}, 0, false
	}
	definition = string(bytes.TrimSpace(first))
	for line := range bytes.Lines(rest) {
		fields := bytes.Fields(line)
		if len(fields) != 2 || line[len(line)-1] != '\n' {
			return definition, Usage{}, 0, false
		}
		octets, err1 := strconv.ParseInt(string(fields[0]), 10, 64)
		messages, err2 := strconv.ParseInt(string(fields[1]), 10, 64)
		if err1 != nil || err2 != nil || tooMuch(octets) || tooMuch(messages) {
			return definition, Usage{}, 0, false
		}
		sum, lines = sum.plus(Usage{messages, octets}), lines+1
	}
	return definition, sum, lines, lines > 0 && sum.Octets >= 0 && sum.Messages >= 0
}

// tooMuch holds a count to what cannot overflow, however many lines there are.
func tooMuch(n int64) bool { return n > 1<<50 || n < -1<<50 }
